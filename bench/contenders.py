"""The runtimes that peers.py compares, each with run() on a fixed input and outputs() as (map (B, H, W), score (B)).

Refused is raised where a build or a machine cannot do what a contender is. As a program it writes the model file with test
values: contenders.py LIBRARY BACKBONE SIZE OUT.blemish
"""
import ctypes
import sys

PRECISIONS = {"fp32": 1, "bf16": 2, "int8": 3}  # BlemishPrecision
UNSUPPORTED = -5


class Refused(Exception):
    pass


# ---- blemish, through its public header -------------------------------------------------------------------

class Image(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("width", ctypes.c_size_t), ("height", ctypes.c_size_t),
                ("stride", ctypes.c_size_t), ("channels", ctypes.c_int)]


class Settings(ctypes.Structure):
    _fields_ = [("threads", ctypes.c_int), ("precision", ctypes.c_int), ("batch", ctypes.c_size_t),
                ("tiles", ctypes.c_int)]


class Result(ctypes.Structure):
    _fields_ = [("score", ctypes.c_float), ("probability", ctypes.c_float), ("defect", ctypes.c_int),
                ("map_max", ctypes.c_float), ("map", ctypes.POINTER(ctypes.c_float)), ("map_width", ctypes.c_size_t),
                ("map_height", ctypes.c_size_t), ("image_width", ctypes.c_size_t), ("image_height", ctypes.c_size_t)]


def load(library):
    lib = ctypes.CDLL(library)
    for name in "blemish_version", "blemish_model_error", "blemish_session_error":
        getattr(lib, name).restype = ctypes.c_char_p
    return lib


def check(status, error, handle):
    text = error(handle).decode() if status and handle else "no memory"
    if status == UNSUPPORTED: raise Refused(text)
    if status: sys.exit("blemish: " + text)


class Blemish:
    """From 8-bit pixels to the score and the map at the network's size, so preprocessing is timed."""

    def __init__(self, a, pixels, x, precision):
        self.lib, self.pixels = load(a.library), pixels  # pixels (B, H, W, 3) must outlive the images
        self.version = self.lib.blemish_version().decode()
        path = a.model_int8 if precision == "int8" else a.model_fp32
        if not path: raise Refused("there is no int8 model")
        model, self.session, settings = ctypes.c_void_p(), ctypes.c_void_p(), Settings()
        check(self.lib.blemish_model_open(ctypes.byref(model), path.encode()), self.lib.blemish_model_error, model)
        self.lib.blemish_session_defaults(ctypes.byref(settings))
        settings.threads, settings.batch, settings.precision = a.threads, len(pixels), PRECISIONS[precision]
        check(self.lib.blemish_session_open(ctypes.byref(self.session), model, ctypes.byref(settings)),
              self.lib.blemish_session_error, self.session)
        height, width = pixels.shape[1:3]
        self.images = (Image * len(pixels))(*[Image(p.ctypes.data, width, height, width * 3, 3) for p in pixels])
        self.results, self.batch = (Result * len(pixels))(), ctypes.c_size_t(len(pixels))

    def run(self):
        check(self.lib.blemish_session_run(self.session, self.images, self.batch, self.results),
              self.lib.blemish_session_error, self.session)

    def outputs(self):
        import numpy as np
        self.run()
        maps = [np.ctypeslib.as_array(r.map, (r.map_height, r.map_width)).copy() for r in self.results]
        return np.stack(maps), np.array([r.score for r in self.results])


# ---- the others, on the tensor they need ------------------------------------------------------------------

class OnnxRuntime:
    def __init__(self, a, pixels, x, precision):
        import onnxruntime as ort
        o = ort.SessionOptions()
        o.intra_op_num_threads, o.inter_op_num_threads = a.threads, 1
        o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        o.log_severity_level = 3
        self.version, self.feed = ort.__version__, {"image": x}
        self.session = ort.InferenceSession(a.onnx_int8 if precision == "int8" else a.onnx, o,
                                            providers=["CPUExecutionProvider"])

    def run(self): self.last = self.session.run(["map", "score"], self.feed)

    def outputs(self):
        self.run()
        return self.last[0][:, 0], self.last[1].reshape(-1)


class OpenVino:
    def __init__(self, a, pixels, x, precision):
        import openvino
        self.version, self.x = openvino.__version__.split("-")[0], x
        core = openvino.Core()
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise Refused("OpenVINO has no bf16 on this processor")
        hints = {"INFERENCE_NUM_THREADS": a.threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        # What NNCF left unquantised runs in what OpenVINO takes by itself, which is bf16 where the processor has it.
        if precision != "int8": hints["INFERENCE_PRECISION_HINT"] = "bf16" if precision == "bf16" else "f32"
        model = a.openvino_int8 if precision == "int8" else a.onnx
        self.request = core.compile_model(model, "CPU", hints).create_infer_request()

    def run(self): self.request.infer([self.x])

    def outputs(self):
        self.run()
        map, score = [self.request.get_output_tensor(i).data.copy() for i in (0, 1)]
        return map[:, 0], score.reshape(-1)


class PyTorch:
    def __init__(self, a, pixels, x, precision):
        import torch
        import graph
        torch.set_num_threads(a.threads)
        self.torch, self.version, self.x = torch, torch.__version__, torch.from_numpy(x)
        self.net = graph.build(a.reference, a.backbone, a.size, a.model)

    def run(self):
        with self.torch.no_grad(): self.last = self.net(self.x)

    def outputs(self):
        self.run()
        return self.last[0].numpy()[:, 0], self.last[1].numpy().reshape(-1)


RUNTIMES = {"blemish": Blemish, "onnxruntime": OnnxRuntime, "openvino": OpenVino, "pytorch": PyTorch}
CONTENDERS = ["blemish-fp32", "blemish-bf16", "blemish-int8", "onnxruntime-fp32", "onnxruntime-int8", "openvino-fp32",
              "openvino-bf16", "openvino-int8", "pytorch-fp32"]


def write_test_model(library, backbone, size, out):
    lib, model = load(library), ctypes.c_void_p()
    side = ctypes.c_size_t(int(size))
    check(lib.blemish_model_untrained(ctypes.byref(model), backbone.encode(), None, side, side), lib.blemish_model_error,
          model)
    check(lib.blemish_model_save(model, out.encode()), lib.blemish_model_error, model)


if __name__ == "__main__": write_test_model(*sys.argv[1:])
