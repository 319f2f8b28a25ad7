"""What peers.py needs before it can time anything: environments, images, model files, graphs. Standard library only.

Everything is made once and kept in the cache folder under names that say what it is.
"""
import glob
import os
import random
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
DEBIAN = "/usr/bin/python3"
CALIBRATION, TIMED = 32, 32  # images


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(*command):
    if subprocess.run(command, stdout=sys.stderr).returncode: sys.exit("peers: failed: " + " ".join(command))


def imports(python, *modules):
    return subprocess.run([python, "-c", "import " + ", ".join(modules)], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0


def made(path, make):
    """path, made by make(path + a suffix) where it is missing: a file that is there is whole."""
    if os.path.exists(path): return path
    say("peers: making " + path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    root, extension = os.path.splitext(path)
    part = root + ".part" + extension
    make(part)
    if not os.path.exists(part): sys.exit("peers: %s: was not made" % path)
    if extension == ".xml": os.rename(root + ".part.bin", root + ".bin")  # OpenVINO's weights
    os.rename(part, path)
    return path


def environments(a):
    """The Python to time in and, where int8 peers are asked for, the one to quantise in: that one's numpy is newer than
    Debian's PyTorch can use."""
    timing, quantising = os.path.join(a.venv, "bin/python"), os.path.join(a.venv + "-quantise", "bin/python")
    packages = [] if os.path.exists(timing) or imports(DEBIAN, "venv", "ensurepip") else ["python3-venv"]
    if not imports(DEBIAN, "torch", "torchvision", "PIL"): packages += ["python3-torch", "python3-torchvision"]
    if packages:
        say("peers: installing " + " ".join(packages))
        run(*([] if os.geteuid() == 0 else ["sudo"]), "apt-get", "-qq", "install", "-y", "--no-install-recommends",
            *packages)
    runtimes = {c.rsplit("-", 1)[0] for c in a.contenders}
    install(timing, ["--system-site-packages"], ["numpy"] + sorted(runtimes & {"onnxruntime", "openvino"}))
    if "onnxruntime-int8" in a.contenders: install(quantising, [], ["onnx", "onnxruntime"])
    if "openvino-int8" in a.contenders: install(quantising, [], ["openvino", "nncf"])
    return timing, quantising


def install(python, options, modules):
    venv = os.path.dirname(os.path.dirname(python))
    if not os.path.exists(python): run(DEBIAN, "-m", "venv", *options, venv)
    missing = [m for m in modules if not imports(python, m)]
    if missing:
        say("peers: installing " + " ".join(missing) + " into " + venv)
        run(python, "-m", "pip", "install", "-q", *missing)


# ---- images -----------------------------------------------------------------------------------------------

def list_images(folder):
    """Photographs of a data set: good ones to calibrate on, then others to run, defective ones first; both in a fixed
    random order. Masks are left out."""
    files = sorted(f for f in glob.glob(folder + "/**/*", recursive=True)
                   if f.lower().endswith((".png", ".jpg", ".jpeg")) and "mask" not in f and "ground_truth" not in f
                   and not f.lower().endswith("_gt.png"))
    photographs = [f for f in files if not f.lower().endswith(".png")]
    if photographs: files = photographs  # such layouts keep their masks as PNG beside them
    random.Random(0).shuffle(files)
    is_good = lambda f: "good" in f.lower() or "free" in f.lower()
    good = [f for f in files if is_good(f)]
    if len(good) < CALIBRATION or len(files) < CALIBRATION + TIMED:
        sys.exit("peers: --data: %s: found %d images, %d of them good, expected %d and %d or more"
                 % (folder, len(files), len(good), CALIBRATION + TIMED, CALIBRATION))
    return good[:CALIBRATION] + sorted((f for f in files if f not in good[:CALIBRATION]), key=is_good)[:TIMED]


def make_images(a, folder):
    """folder/train/good/*.png to calibrate on, folder/test/good/*.png to run: a.size squares, so that every runtime
    gets the same pixels."""
    from PIL import Image
    source = a.data
    if not source:
        source = os.path.join(a.cache, "synth-%d" % a.size)
        if not os.path.exists(source):
            run(a.command, "synth", source, "--size", str(a.size), "--train-good", str(CALIBRATION), "--train-defect",
                "0", "--test-good", str(TIMED // 2), "--test-defect", str(TIMED // 2), "--quiet")
    for i, name in enumerate(list_images(source)):
        where = os.path.join(folder, "train" if i < CALIBRATION else "test", "good")
        os.makedirs(where, exist_ok=True)
        image = Image.open(name).convert("RGB")
        if image.size != (a.size, a.size): image = image.resize((a.size, a.size), Image.BILINEAR)
        image.save(os.path.join(where, "%03d.png" % i))


def make_pixels(folder, split, out):
    import numpy as np
    from PIL import Image
    np.save(out, np.stack([np.asarray(Image.open(f)) for f in sorted(glob.glob(folder + "/%s/good/*.png" % split))]))


def first_image(a):
    return sorted(glob.glob(os.path.dirname(a.images) + "/test/good/*.png"))[0]


# ---- everything, from the timing environment --------------------------------------------------------------

def prepare(a, quantising):
    """Fills in a.images, a.calibration (.npy), a.model_fp32, a.onnx, and the int8 files of those asked for: a.model_int8,
    a.onnx_int8, a.openvino_int8. A file that a build refuses to make stays None, and its contender is left out."""
    tag = "%s-%d" % (a.backbone, a.size)
    if a.model: tag += "-" + os.path.splitext(os.path.basename(a.model))[0] + "-%d" % os.stat(a.model).st_mtime
    images = os.path.join(a.cache, "images-%d%s" % (a.size, "-" + os.path.basename(a.data) if a.data else ""))
    path = lambda name: os.path.join(a.cache, tag + name)
    made(images, lambda out: make_images(a, out))
    a.images = made(images + "/test.npy", lambda out: make_pixels(images, "test", out))
    a.calibration = made(images + "/train.npy", lambda out: make_pixels(images, "train", out))
    a.model_fp32 = a.model or made(path(".blemish"), lambda out: run(
        sys.executable, os.path.join(HERE, "contenders.py"), a.library, a.backbone, str(a.size), out))
    a.onnx = a.model_int8 = a.onnx_int8 = a.openvino_int8 = None
    if any(not c.startswith(("blemish", "pytorch")) for c in a.contenders):
        a.onnx = made(path("-%d.onnx" % a.batch), lambda out: run(
            sys.executable, "-W", "ignore", os.path.join(HERE, "graph.py"), out, "--reference", a.reference,
            "--backbone", a.backbone, "--size", str(a.size), "--batch", str(a.batch),
            *(["--model", a.model] if a.model else [])))
    if "blemish-int8" in a.contenders:
        if subprocess.run([a.command, "quantize", "--help"], capture_output=True).returncode:
            say("peers: blemish-int8 is left out: this build has no 'blemish quantize'")
        else:
            a.model_int8 = made(path("-int8.blemish"), lambda out: run(
                a.command, "quantize", a.model_fp32, "--data", images, "--out", out))
    quantise = lambda kind, out: run(quantising, "-W", "ignore", os.path.join(HERE, "quantise.py"), kind, a.onnx, out,
                                     a.calibration, str(a.batch))
    if "onnxruntime-int8" in a.contenders:
        a.onnx_int8 = made(path("-%d-int8.onnx" % a.batch), lambda out: quantise("onnxruntime", out))
    if "openvino-int8" in a.contenders:
        a.openvino_int8 = made(path("-%d-int8.xml" % a.batch), lambda out: quantise("openvino", out))
