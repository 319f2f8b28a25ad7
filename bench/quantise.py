"""int8 graphs for the peers, calibrated on given images; runs in the quantisers' own virtual environment.

  quantise.py onnxruntime IN.onnx OUT.onnx PIXELS.npy BATCH   ONNX Runtime's static quantiser, QDQ, per channel
  quantise.py openvino    IN.onnx OUT.xml  PIXELS.npy BATCH   NNCF's post-training quantisation

PIXELS.npy is (N, H, W, 3) uint8.
"""
import os
import sys

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalise(pixels):
    """(B, H, W, 3) uint8 to the network's input (B, 3, H, W) fp32."""
    import numpy as np
    x = (pixels / 255 - np.array(MEAN)) / np.array(STD)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32)


def batches(path, batch):
    """The images in whole batches; the first ones fill up the last."""
    import numpy as np
    pixels = np.load(path)
    for i in range(0, len(pixels), batch):
        yield normalise(pixels[[k % len(pixels) for k in range(i, i + batch)]])


def onnxruntime(source, out, pixels, batch):
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self): self.feeds = iter([{"image": x} for x in batches(pixels, batch)])

        def get_next(self): return next(self.feeds, None)

    prepared = out + ".prepared.onnx"
    quant_pre_process(source, prepared, skip_symbolic_shape=True)  # folds BatchNorm, infers shapes
    # The final blur (25 taps an axis) works on one channel: int8 there costs precision and gains nothing.
    graph = onnx.load(prepared).graph
    taps = {i.name: max(i.dims[2:]) for i in graph.initializer if len(i.dims) == 4}
    tail = [n.name for n in graph.node if n.op_type in ("Pad", "Sigmoid") or
            n.op_type == "Conv" and taps.get(n.input[1], 0) >= 25]
    quantize_static(prepared, out, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=tail)
    os.remove(prepared)


def openvino(source, out, pixels, batch):
    import nncf
    import openvino as ov
    core = ov.Core()
    feeds = list(batches(pixels, batch))
    model = nncf.quantize(core.read_model(source), nncf.Dataset(feeds), preset=nncf.QuantizationPreset.MIXED,
                          subset_size=len(feeds))
    ov.save_model(model, out, compress_to_fp16=False)


if __name__ == "__main__":
    kind, source, out, pixels, batch = sys.argv[1:]
    {"onnxruntime": onnxruntime, "openvino": openvino}[kind](source, out, pixels, int(batch))
