#!/usr/bin/env python3
"""How time grows: of a session with the image's area, the batch and the threads, of a training with its images and its
masks. Runs `blemish bench` and `blemish train`, prints the tables of docs/performance.md and writes docs/images/*.svg.

Example: bench/scaling.py --backbones wide_resnet50_2,resnet18 --docs
"""
import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile

import documents
from plot import plot

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--backbones", default="wide_resnet50_2,resnet18", metavar="LIST")
    p.add_argument("--precision", default="auto", help="of the sessions (default %(default)s)")
    p.add_argument("--sizes", default="128,256,512,1024,2048", metavar="LIST", help="sides of the squares")
    p.add_argument("--batches", default="1,2,4,8,16,32,64", metavar="LIST")
    p.add_argument("--threads", default=",".join(str(n) for n in thread_counts()), metavar="LIST",
                   help="the last one is used elsewhere (default %(default)s)")
    p.add_argument("--images", default="32,64,128,256", metavar="LIST", help="training images")
    p.add_argument("--masks", default="1,8,16,32", metavar="LIST", help="masks kept of 32 defective training images")
    p.add_argument("--train-size", type=int, default=256, help="side of the training images (default %(default)s)")
    p.add_argument("--command", default=os.path.join(ROOT, "build/release/blemish"), metavar="FILE")
    p.add_argument("--no-training", action="store_true")
    p.add_argument("--docs", action="store_true", help="write the tables into docs/performance.md, the plots to "
                   "docs/images; otherwise the plots go to the working folder")
    a = p.parse_args()
    a.backbones = a.backbones.split(",")
    for name in "sizes", "batches", "threads", "images", "masks":
        try: setattr(a, name, [int(n) for n in getattr(a, name).split(",")])
        except ValueError: p.error("--%s: expected whole numbers with commas between them" % name)
    if not os.path.exists(a.command): p.error("--command: %s: not found; cmake --preset release && cmake --build "
                                              "--preset release" % a.command)
    return a


def thread_counts():
    cores = len(os.sched_getaffinity(0))
    return [n for n in (1, 2, 4, 8, 16, 32, 64) if n < cores] + [cores]


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode: sys.exit("scaling: %s: %s" % (" ".join(command), done.stderr.strip()))
    return done.stdout


def bench(a, backbone, size, batch, threads):
    """The median of a run in ms, of 3 to 30 runs by how much one of them is."""
    runs = max(3, min(30, 30 * 256 * 256 // (size * size * batch)))
    return json.loads(run(a.command, "bench", "--backbone", backbone, "--size", str(size), "--batch", str(batch),
                          "--threads", str(threads), "--precision", a.precision, "--runs", str(runs), "--warmup", "2",
                          "--json"))


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def sweep(a, values, setting, per):
    """{backbone: [(value, median ms, ms per `per`)]}; setting(value) is (size, batch, threads)."""
    found = {}
    for backbone in a.backbones:
        found[backbone] = []
        for value in values:
            size, batch, threads = setting(value)
            ms = bench(a, backbone, size, batch, threads)["median_ms"]
            found[backbone].append((value, ms, ms / per(value)))
            print("scaling: %s, %d x %d, batch %d, %d threads: %.2f ms" % (backbone, size, size, batch, threads, ms),
                  file=sys.stderr, flush=True)
    return found


def tabulate(found, first, per):
    """One row a value, two columns a backbone."""
    head = [first] + [column for b in found for column in ("%s, ms" % b, per)]
    rows = zip(*found.values())
    return table(head, [[str(row[0][0])] + [text for _, ms, each in row for text in ("%.1f" % ms, "%.2f" % each)]
                        for row in rows])


def train_seconds(a, data, *more):
    """Seconds of the features, and of an epoch: the second of two."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "m.blemish")
        run(a.command, "train", "--data", data, "--out", out, "--size", str(a.train_size), "--epochs", "2", "--threads",
            str(a.threads[-1]), "--no-eval", "--quiet", *more)
        with open(out + ".csv") as f: return float(list(csv.DictReader(f))[-1]["seconds"])


def training(a):
    """[(images, seconds an epoch)], [(masks, seconds an epoch)]"""
    by_images, by_masks = [], []
    with tempfile.TemporaryDirectory() as folder:
        for n in a.images:
            data = os.path.join(folder, "good-%d" % n)
            run(a.command, "synth", data, "--size", str(a.train_size), "--train-good", str(n), "--train-defect", "0",
                "--test-good", "0", "--test-defect", "0", "--quiet")
            by_images.append((n, train_seconds(a, data)))
        data = os.path.join(folder, "mixed")
        run(a.command, "synth", data, "--size", str(a.train_size), "--train-good", "64", "--train-defect", "32",
            "--test-good", "0", "--test-defect", "0", "--quiet")
        for n in a.masks: by_masks.append((n, train_seconds(a, data, "--masks", str(n))))
    return by_images, by_masks


def main():
    a = arguments()
    images = os.path.join(ROOT, "docs/images") if a.docs else "."
    most = a.threads[-1]
    area = sweep(a, a.sizes, lambda n: (n, 1, most), lambda n: n * n / 65536)
    batch = sweep(a, a.batches, lambda n: (256, n, most), lambda n: n)
    threads = sweep(a, a.threads, lambda n: (256, 1, n), lambda n: 1 / n)
    lines = lambda found: {b: [(x, y) for x, y, _ in rows] for b, rows in found.items()}
    plot(os.path.join(images, "scaling-area.svg"), "Latency against image area (batch 1)", "pixels a side",
         "ms an image", {b: [(n * n, ms) for n, ms in points] for b, points in lines(area).items()},
         {n * n: "%d²" % n for n in a.sizes})
    plot(os.path.join(images, "scaling-batch.svg"), "Time of a batch (256 x 256)", "images a batch", "ms a batch",
         lines(batch))
    plot(os.path.join(images, "scaling-threads.svg"), "Latency against threads (256 x 256)", "threads", "ms an image",
         lines(threads))
    documents.put(a.docs, "scaling-area", tabulate(area, "side", "ms per 256²"))
    documents.put(a.docs, "scaling-batch", tabulate(batch, "batch", "ms per image"))
    documents.put(a.docs, "scaling-threads", tabulate(threads, "threads", "core-ms"))
    if a.no_training: return
    by_images, by_masks = training(a)
    plot(os.path.join(images, "scaling-training.svg"), "Training time an epoch (builtin, %d²)" % a.train_size,
         "good images, or masks of 32 defects", "seconds an epoch", {"images": by_images, "masks": by_masks})
    documents.put(a.docs, "scaling-training",
                  table(["good images", "s an epoch", "ms an image"],
                        [[str(n), "%.2f" % s, "%.1f" % (1e3 * s / n)] for n, s in by_images]) + "\n" +
                  table(["masks of 32 defects", "s an epoch"], [[str(n), "%.2f" % s] for n, s in by_masks]))


if __name__ == "__main__": main()
