#!/usr/bin/env python3
"""Throughput of `blemish predict` on a folder against throughput from decoded pixels of the same size, with as many
threads, in turns. Images come from `blemish synth`, 256 and 1024 pixels a side, as PNG and as JPEG of quality 90 (needs
python3-pil); they are in the page cache. From memory, the faster of one session with all threads and a session of one
thread for each counts; both end with the score and the map. predict's own start does not count, its lines of JSON do.

Example: bench/files.py --docs
"""
import argparse
import ctypes
import glob
import json
import os
import statistics
import subprocess
import sys
import threading
import time

import contenders
import documents
from prepare import made, run

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BAR = 90  # percent
SIZES, KINDS = (256, 1024), ("jpg", "png")
WARM = 16  # predict's first lines, which wait for sessions to open


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", default="wide_resnet50_2-fp32,resnet18-fp32,resnet18-int8", metavar="LIST",
                   help="backbone-precision, with test values (default %(default)s)")
    p.add_argument("--images", type=int, default=96, help="in a folder, 64 or more (default %(default)s)")
    p.add_argument("--rounds", type=int, default=3, help="turns of each (default %(default)s)")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--library", default=os.path.join(ROOT, "build/release/libblemish.so"), metavar="FILE")
    p.add_argument("--cache", default=os.path.join(HERE, ".cache"), metavar="DIR")
    p.add_argument("--docs", action="store_true", help="write the table into docs/performance.md")
    p.add_argument("--json", action="store_true", help="print one JSON array instead of the table")
    a = p.parse_args()
    if a.images < 64 or min(a.rounds, a.threads) < 1: p.error("--images: expected 64 or more; the others 1 or more")
    a.library = os.path.abspath(a.library)
    a.command = os.path.join(os.path.dirname(a.library), "blemish")
    if not os.path.exists(a.command): p.error("--library: %s: not found; cmake --preset release && cmake --build "
                                              "--preset release" % a.command)
    return a


# ---- what is needed ---------------------------------------------------------------------------------------

def folder_of(a, size, kind):
    def make(out):
        from PIL import Image
        source = os.path.join(a.cache, "files-%d-%d" % (size, a.images))
        made(source, lambda to: run(a.command, "synth", to, "--size", str(size), "--train-good", str(a.images),
                                    "--train-defect", "0", "--test-good", "0", "--test-defect", "0", "--quiet"))
        os.makedirs(out)
        for f in sorted(glob.glob(source + "/**/train/good/*.png", recursive=True)):
            image = Image.open(f).convert("RGB")
            options = dict(quality=90) if kind == "jpg" else {}
            image.save(os.path.join(out, os.path.basename(f)[:-3] + kind), **options)
    return made(os.path.join(a.cache, "files-%d-%d-%s" % (size, a.images, kind)), make)


def model_of(a, backbone, precision):
    path = os.path.join(a.cache, "files-%s" % backbone)
    plain = made(path + ".blemish", lambda out: run(sys.executable, os.path.join(HERE, "contenders.py"), a.library,
                                                    backbone, "256", out))
    if precision != "int8": return plain
    data = os.path.join(a.cache, "files-256-%d" % a.images)
    return made(path + "-int8.blemish", lambda out: run(a.command, "quantize", plain, "--data", data, "--out", out))


# ---- timing -----------------------------------------------------------------------------------------------

class Memory:
    """Sessions on the folder's images, decoded."""

    def __init__(self, a, model, precision, paths):
        self.lib = contenders.load(a.library)
        self.images, error = [contenders.Image() for _ in paths], ctypes.create_string_buffer(1024)
        for image, path in zip(self.images, paths):
            if self.lib.blemish_image_load(ctypes.byref(image), path.encode(), error):
                sys.exit("files: " + error.value.decode())
        started, again = time.process_time(), contenders.Image()
        for path in paths:
            self.lib.blemish_image_load(ctypes.byref(again), path.encode(), error)
            self.lib.blemish_image_free(ctypes.byref(again))
        self.decode_ms = 1e3 * (time.process_time() - started) / len(paths)
        self.model = ctypes.c_void_p()
        contenders.check(self.lib.blemish_model_open(ctypes.byref(self.model), model.encode()),
                         self.lib.blemish_model_error, self.model)
        self.whole = [self.session(precision, a.threads)]
        self.split = [self.session(precision, 1) for _ in range(a.threads)]

    def session(self, precision, threads):
        session, settings = ctypes.c_void_p(), contenders.Settings()
        self.lib.blemish_session_defaults(ctypes.byref(settings))
        settings.threads, settings.precision = threads, contenders.PRECISIONS[precision]
        contenders.check(self.lib.blemish_session_open(ctypes.byref(session), self.model, ctypes.byref(settings)),
                         self.lib.blemish_session_error, session)
        return session

    def rate(self, sessions):
        """Images a second of these sessions side by side."""
        def work(session, images):
            result = contenders.Result()
            for image in images:
                contenders.check(self.lib.blemish_session_run(session, ctypes.byref(image), ctypes.c_size_t(1),
                                                              ctypes.byref(result)),
                                 self.lib.blemish_session_error, session)
        for session in sessions: work(session, self.images[:2])
        workers = [threading.Thread(target=work, args=(session, self.images[i::len(sessions)]))
                   for i, session in enumerate(sessions)]
        started = time.perf_counter()
        for w in workers: w.start()
        for w in workers: w.join()
        return len(self.images) / (time.perf_counter() - started)

    def close(self):
        for session in self.whole + self.split: self.lib.blemish_session_close(session)
        self.lib.blemish_model_close(self.model)
        for image in self.images: self.lib.blemish_image_free(ctypes.byref(image))


def predict_rate(a, model, precision, folder):
    """Images a second after the first WARM lines. No region is asked for: test values make no sensible map."""
    child = subprocess.Popen([a.command, "predict", model, folder, "--threads", str(a.threads), "--precision",
                              precision, "--pixel-threshold", "1"], stdout=subprocess.PIPE)
    times = [time.perf_counter() for _ in child.stdout]
    if child.wait() or len(times) != a.images: sys.exit("files: blemish predict %s %s failed" % (model, folder))
    return (len(times) - WARM) / (times[-1] - times[WARM - 1])


def measure(a, backbone, precision, size, kind):
    model, folder = model_of(a, backbone, precision), folder_of(a, size, kind)
    memory = Memory(a, model, precision, sorted(glob.glob(folder + "/*")))
    rates = {"whole": [], "split": [], "files": []}
    for _ in range(a.rounds):
        rates["whole"].append(memory.rate(memory.whole))
        rates["split"].append(memory.rate(memory.split))
        rates["files"].append(predict_rate(a, model, precision, folder))
    memory.close()
    middle = {name: statistics.median(r) for name, r in rates.items()}
    best = max(middle["whole"], middle["split"])
    busy = 1e3 * a.threads / best  # ms of a core for an image from memory
    return dict(backbone=backbone, precision=precision, size=size, kind=kind, decode_ms=memory.decode_ms,
                memory_per_s=best, files_per_s=middle["files"], percent=100 * middle["files"] / best,
                most_percent=100 * busy / (busy + memory.decode_ms), rates=rates)


def row(r):
    return "| %s | %s | %s %d | %.2f | %.1f | %.1f | %.0f | %.0f | %s |" % (
        r["backbone"], r["precision"], "JPEG" if r["kind"] == "jpg" else "PNG", r["size"], r["decode_ms"],
        r["memory_per_s"], r["files_per_s"], r["percent"], r["most_percent"], "yes" if r["percent"] >= BAR else "**no**")


def table(rows):
    head = ["backbone", "precision", "images", "decode ms", "memory/s", "files/s", "% of it", "most %", "%d %% met" % BAR]
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + [row(r) for r in rows]) + "\n"


def main():
    a = arguments()
    rows = []
    for name in a.models.split(","):
        for size in SIZES:
            for kind in KINDS:
                rows.append(measure(a, *name.rsplit("-", 1), size, kind))
                print("files: " + row(rows[-1]), file=sys.stderr, flush=True)
    if a.json: print(json.dumps(rows))
    else: documents.put(a.docs, "files", table(rows))


if __name__ == "__main__": main()
