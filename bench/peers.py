#!/usr/bin/env python3
"""Times blemish against other runtimes on the same network, weights, image and cores, in one run.

The other runtimes execute the graph as published, exported by the reference program (ssn_reference.py onnx); blemish
is called through its public C API from 8-bit pixels on, so its preprocessing is timed and theirs is not. Every runtime
must first give blemish's map and score on the same image. Then they alternate, round by round, because absolute
times drift on a shared machine: quote the ratio of medians.

The first run makes a virtual environment and exports the graph, which needs a network, and PyTorch from Debian's
packages (python3-torch and python3-torchvision are the CPU build, a thirtieth of PyPI's).

Example: bench/peers.py --backbone wide_resnet50_2 --size 256 --batch 1 --threads 2 --json
"""
import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TOLERANCE = 1e-4  # of map and score, both in [0, 1]: what the golden files are held to
PEERS = ["onnxruntime", "openvino", "pytorch"]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--backbone", default="wide_resnet50_2",
                   choices=["wide_resnet50_2", "resnet50", "resnet34", "resnet18"])
    p.add_argument("--size", type=int, default=256, help="height and width, pixels (default %(default)s)")
    p.add_argument("--batch", type=int, default=1, help="images a run (default %(default)s)")
    p.add_argument("--threads", type=int, default=2, help="of every runtime (default %(default)s)")
    p.add_argument("--peers", default="onnxruntime", metavar="LIST",
                   help="comma-separated, of %s (default %%(default)s)" % ", ".join(PEERS))
    p.add_argument("--rounds", type=int, default=15, help="times every runtime gets its turn (default %(default)s)")
    p.add_argument("--repeat", type=int, default=3, help="timed runs a turn (default %(default)s)")
    p.add_argument("--library", default=os.path.join(ROOT, "build/release/libblemish.so"), metavar="FILE")
    p.add_argument("--reference", default=os.path.join(ROOT, "../shared/reference"), metavar="DIR",
                   help="the folder of ssn_reference.py (default ../shared/reference)")
    p.add_argument("--venv", default=os.path.join(HERE, ".venv"), metavar="DIR")
    p.add_argument("--cache", default=os.path.join(HERE, ".cache"), metavar="DIR", help="of exported graphs")
    p.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    a = p.parse_args()
    a.peers = a.peers.split(",")
    for peer in a.peers:
        if peer not in PEERS: p.error("--peers: found %s, expected %s" % (peer, ", ".join(PEERS)))
    if min(a.size, a.batch, a.threads, a.rounds, a.repeat) < 1: p.error("sizes and counts: expected 1 or more")
    a.onnx = os.path.join(a.cache, "%s-%d-%d.onnx" % (a.backbone, a.size, a.batch))
    a.reference = os.path.join(a.reference, "ssn_reference.py")
    if not os.path.exists(a.library): p.error("--library: %s: not found; build it: cmake --preset release && "
                                              "cmake --build --preset release" % a.library)
    return a


# ---- preparation: with any Python, standard library only --------------------------------------------------

def say(text):
    print(text, file=sys.stderr, flush=True)


def run(*command):
    if subprocess.run(command, stdout=sys.stderr).returncode: sys.exit("peers: failed: " + " ".join(command))


def imports(python, *modules):
    return subprocess.run([python, "-c", "import " + ", ".join(modules)], stderr=subprocess.DEVNULL).returncode == 0


def prepare(a):
    """Makes the environment and the graph where they are missing; returns the environment's Python."""
    python, debian = os.path.join(a.venv, "bin/python"), "/usr/bin/python3"
    torch = not os.path.exists(a.onnx) or "pytorch" in a.peers
    packages = [] if imports(debian, "venv", "ensurepip") or os.path.exists(python) else ["python3-venv"]
    if torch and not imports(debian, "torch", "torchvision"): packages += ["python3-torch", "python3-torchvision"]
    if packages:
        say("peers: installing " + " ".join(packages))
        run(*([] if os.geteuid() == 0 else ["sudo"]), "apt-get", "-qq", "install", "-y", "--no-install-recommends",
            *packages)
    if not os.path.exists(python): run(debian, "-m", "venv", "--system-site-packages", a.venv)
    wanted = ["numpy"] + [p for p in a.peers if p != "pytorch"] + ([] if os.path.exists(a.onnx) else ["onnx"])
    wheels = [m for m in wanted if not imports(python, m)]
    if wheels:
        say("peers: installing " + " ".join(wheels) + " into " + a.venv)
        run(python, "-m", "pip", "install", "-q", *wheels)
    if torch and not os.path.exists(a.reference): sys.exit("peers: --reference: %s: not found; it must be supplied, see bench/README.md" % a.reference)
    if not os.path.exists(a.onnx):
        say("peers: exporting " + a.onnx)
        os.makedirs(a.cache, exist_ok=True)
        run(python, "-W", "ignore", a.reference, "onnx", a.onnx + ".part", "--backbone", a.backbone,
            "--size", str(a.size), "--batch", str(a.batch))
        os.rename(a.onnx + ".part", a.onnx)
    return python


# ---- blemish, through its public header -------------------------------------------------------------------

class Image(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("width", ctypes.c_size_t), ("height", ctypes.c_size_t),
                ("stride", ctypes.c_size_t), ("channels", ctypes.c_int)]


class Settings(ctypes.Structure):
    _fields_ = [("threads", ctypes.c_int), ("precision", ctypes.c_int), ("batch", ctypes.c_size_t)]


class Result(ctypes.Structure):
    _fields_ = [("score", ctypes.c_float), ("defect", ctypes.c_int), ("map_max", ctypes.c_float),
                ("map", ctypes.POINTER(ctypes.c_float)), ("map_width", ctypes.c_size_t),
                ("map_height", ctypes.c_size_t), ("image_width", ctypes.c_size_t), ("image_height", ctypes.c_size_t)]


class Blemish:
    def __init__(self, a, pixels):
        self.lib, self.pixels = ctypes.CDLL(a.library), pixels  # pixels (B, H, W, 3) must outlive the images
        for name in "blemish_version", "blemish_model_error", "blemish_session_error":
            getattr(self.lib, name).restype = ctypes.c_char_p
        self.version = self.lib.blemish_version().decode()
        model, self.session, settings = ctypes.c_void_p(), ctypes.c_void_p(), Settings()
        size = ctypes.c_size_t(a.size)
        self.check(self.lib.blemish_model_untrained(ctypes.byref(model), a.backbone.encode(), None, size, size),
                   self.lib.blemish_model_error, model)
        self.lib.blemish_session_defaults(ctypes.byref(settings))
        settings.threads, settings.batch = a.threads, a.batch
        settings.precision = 1  # fp32
        self.check(self.lib.blemish_session_open(ctypes.byref(self.session), model, ctypes.byref(settings)),
                   self.lib.blemish_session_error, self.session)
        self.images = (Image * a.batch)(*[Image(p.ctypes.data, a.size, a.size, a.size * 3, 3) for p in pixels])
        self.results, self.batch = (Result * a.batch)(), ctypes.c_size_t(a.batch)

    @staticmethod
    def check(status, error, handle):
        if status: sys.exit("blemish: %s" % (error(handle).decode() if handle else "no memory"))

    def run(self):
        self.check(self.lib.blemish_session_run(self.session, self.images, self.batch, self.results),
                   self.lib.blemish_session_error, self.session)

    def outputs(self):
        import numpy as np
        self.run()
        maps = [np.ctypeslib.as_array(r.map, (r.map_height, r.map_width)).copy() for r in self.results]
        return np.stack(maps), np.array([r.score for r in self.results])


# ---- the others: run() on a fixed input, outputs() as (map (B, 1, H, W), score (B)) -----------------------

class OnnxRuntime:
    def __init__(self, a, x):
        import onnxruntime as ort
        o = ort.SessionOptions()
        o.intra_op_num_threads, o.inter_op_num_threads = a.threads, 1
        o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        o.log_severity_level = 3
        self.version, self.feed = ort.__version__, {"image": x}
        self.session = ort.InferenceSession(a.onnx, o, providers=["CPUExecutionProvider"])

    def run(self): self.last = self.session.run(["map", "score"], self.feed)

    def outputs(self):
        self.run()
        return self.last


class OpenVino:
    def __init__(self, a, x):
        import openvino
        self.version, self.x = openvino.__version__.split("-")[0], x
        self.request = openvino.Core().compile_model(a.onnx, "CPU", {
            "INFERENCE_NUM_THREADS": a.threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()  # the default hint may be bf16

    def run(self): self.request.infer([self.x])

    def outputs(self):
        self.run()
        return [self.request.get_output_tensor(i).data.copy() for i in (0, 1)]


class PyTorch:
    def __init__(self, a, x):
        import torch
        sys.path.insert(0, os.path.dirname(a.reference))
        import ssn_reference
        torch.set_num_threads(a.threads)
        self.torch, self.version, self.x = torch, torch.__version__, torch.from_numpy(x)
        self.net = ssn_reference.Whole(argparse.Namespace(backbone=a.backbone, weights=None, size=a.size, icpr=False))

    def run(self):
        with self.torch.no_grad(): self.last = self.net(self.x)

    def outputs(self):
        self.run()
        return [t.numpy() for t in self.last]


def measure(a):
    import numpy as np
    pixels = np.random.RandomState(0).randint(0, 256, (a.batch, a.size, a.size, 3), dtype=np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = np.ascontiguousarray(((pixels / 255 - mean) / std).transpose(0, 3, 1, 2), dtype=np.float32)
    runtimes = {"blemish": Blemish(a, pixels)}
    for peer in a.peers:
        runtimes[peer] = {"onnxruntime": OnnxRuntime, "openvino": OpenVino, "pytorch": PyTorch}[peer](a, x)

    ours_map, ours_score = runtimes["blemish"].outputs()
    rows = {name: {"version": r.version, "precision": "fp32", "times_ms": []} for name, r in runtimes.items()}
    for peer in a.peers:
        its_map, its_score = runtimes[peer].outputs()
        differences = (float(np.abs(its_map.reshape(ours_map.shape) - ours_map).max()),
                       float(np.abs(its_score.reshape(-1) - ours_score).max()))
        rows[peer]["map_difference"], rows[peer]["score_difference"] = differences
        if not max(differences) <= TOLERANCE:
            sys.exit("peers: %s: map and score differ from blemish's by %.2g and %.2g, expected %g at most"
                     % (peer, *differences, TOLERANCE))

    for _ in range(a.rounds):
        for name, runtime in runtimes.items():
            time.sleep(0.02)  # the previous runtime's idle threads spin for a few milliseconds
            runtime.run()     # caches and threads come back untimed
            for _ in range(a.repeat):
                start = time.perf_counter()
                runtime.run()
                rows[name]["times_ms"].append(1e3 * (time.perf_counter() - start))
    for row in rows.values():
        times = sorted(row.pop("times_ms"))
        row.update(median_ms=statistics.median(times), min_ms=times[0],
                   p99_ms=times[min(len(times) - 1, int(0.99 * len(times)))], runs=len(times))
    for row in rows.values(): row["ratio"] = row["median_ms"] / rows["blemish"]["median_ms"]
    return rows


def processor():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown")


def main():
    a = arguments()
    python = prepare(a)
    if os.path.realpath(sys.prefix) != os.path.realpath(a.venv):
        os.execv(python, [python, os.path.abspath(__file__)] + sys.argv[1:])
    rows = measure(a)
    setting = dict(processor=processor(), backbone=a.backbone, size=a.size, batch=a.batch, threads=a.threads)
    if a.json: return print(json.dumps(dict(setting, runtimes=rows)))
    print("%(backbone)s, %(size)d x %(size)d, batch %(batch)d, %(threads)d threads, %(processor)s" % setting)
    print("%-24s %-9s %10s %9s %9s %7s %10s" % ("runtime", "precision", "median ms", "min ms", "p99 ms", "ratio", "map diff"))
    for name, row in rows.items():
        print("%-24s %-9s %10.2f %9.2f %9.2f %7.2f %10s" % (
            name + " " + row["version"], row["precision"], row["median_ms"], row["min_ms"], row["p99_ms"], row["ratio"],
            "%.1e" % row["map_difference"] if "map_difference" in row else ""))


if __name__ == "__main__":
    main()
