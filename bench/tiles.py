#!/usr/bin/env python3
"""What judging by tiles buys and costs, by the size of the defects (docs/tiles.md).

    bench/tiles.py --weights FILE --out DIR [--sizes 4,8,16,32,64] [--epochs N] [--threads N] [--blemish FILE]

Makes 1024x1024 images of one surface, defects of each size among them (`blemish synth --defect-size`), trains one recipe
at a network input of 256x256 twice, without and with --tiles, and judges the same test images with both. Of each size:
    length   median of the marks' longer sides, pixels
    AUROC    of its scores against those of the good test images
    found    part of its images with a score above all but one in twenty of the good ones
    AP-loc   of the maps' values at the pixels of its images, at the images' size
and of each model the processor time and the largest memory of training it and of judging one image. numpy and Pillow.
"""
import argparse
import csv
import glob
import json
import os
import shutil
import subprocess

import numpy as np
from PIL import Image

SIDE = 1024


def run(command):
    """(processor seconds, largest resident memory in MB): the clock on the wall counts what others do."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status: raise SystemExit(f"{' '.join(command)}: failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def make_data(a, sizes):
    """Rows of (path, label, mask, split, size); size 0 is good."""
    rows = []
    for size in [0] + sizes:
        folder = os.path.join(a.out, f"size{size}")
        counts = (a.train_good, 0, a.test_good, 0) if size == 0 else (1, a.train_defects, 0, a.test_defects)
        names = ("train-good", "train-defect", "test-good", "test-defect")
        # Each size is a part of its own of one surface: its good images, which are alike in all, are left out.
        run([a.blemish, "synth", folder, "--size", str(SIDE), "--seed", "1", "--quiet", "--defect-size", str(size)] +
            [w for name, count in zip(names, counts) for w in ("--" + name, str(count))])
        for path in sorted(glob.glob(os.path.join(folder, "train", "*", "*")) + glob.glob(os.path.join(folder, "test", "*", "*"))):
            split, kind, name = path.split(os.sep)[-3:]
            if (kind == "good") != (size == 0): continue
            mask = os.path.join(folder, "ground_truth", kind, name[:-4] + "_mask.png") if size else ""
            rows.append((path, "defect" if size else "good", mask, split, size))
    with open(os.path.join(a.out, "data.csv"), "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "mask", "split"))
        writer.writerows((os.path.abspath(p), label, m and os.path.abspath(m), s) for p, label, m, s, _ in rows)
    return rows


def auroc(good, bad):
    return np.mean((bad[:, None] > good[None]) + 0.5 * (bad[:, None] == good[None]))


def average_precision(values, truth):
    truth = truth[np.argsort(-values, kind="stable")]
    return np.sum(np.cumsum(truth)[truth] / (np.flatnonzero(truth) + 1)) / truth.sum()


def read_mask(path):
    return np.asarray(Image.open(path)) > 0


def length(mask):
    y, x = np.nonzero(mask)
    return max(np.ptp(y), np.ptp(x)) + 1


def judge(a, model, rows):
    """Score of every path and the folder of maps, with the seconds of one image."""
    maps = os.path.join(a.out, "maps")
    shutil.rmtree(maps, ignore_errors=True)
    results = os.path.join(a.out, "results.jsonl")
    run([a.blemish, "predict", model, *(r[0] for r in rows), "--maps", maps, "--out", results, "--threads", str(a.threads)])
    return {line["path"]: line for line in map(json.loads, open(results))}


def cost(a, model, path):
    """Processor milliseconds of an image beyond the start, and MB; the least of three."""
    one = [run([a.blemish, "predict", model, path, "--threads", str(a.threads)]) for _ in range(3)]
    five = [run([a.blemish, "predict", model, *[path] * 5, "--threads", str(a.threads)]) for _ in range(3)]
    return 250 * (min(five)[0] - min(one)[0]), min(m for _, m in one)


def measure(a, name, model, rows, sizes):
    judged = judge(a, model, rows)
    scores = {size: np.array([judged[r[0]]["score"] for r in rows if r[4] == size]) for size in [0] + sizes}
    limit = np.sort(scores[0])[::-1][len(scores[0]) // 20]
    for size in sizes:
        of_size = [r for r in rows if r[4] == size]
        masks = [read_mask(r[2]) for r in of_size]
        maps = [np.asarray(Image.open(judged[r[0]]["map"]), np.float32) for r in of_size]
        ap = average_precision(np.concatenate([m.ravel() for m in maps]), np.concatenate([m.ravel() for m in masks]))
        print(f"| {name} | {size} | {np.median([length(m) for m in masks]):.0f} | {100 * auroc(scores[0], scores[size]):.1f} |"
              f" {np.sum(scores[size] > limit)} of {len(of_size)} | {100 * ap:.1f} |", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    p.add_argument("--weights", required=True, help="a resnet18 file")
    p.add_argument("--out", required=True, help="a folder that is not there yet")
    p.add_argument("--sizes", default="4,8,16,32,64")
    p.add_argument("--train-good", type=int, default=12)
    p.add_argument("--train-defects", type=int, default=4, help="of each size")
    p.add_argument("--test-good", type=int, default=20)
    p.add_argument("--test-defects", type=int, default=12, help="of each size")
    p.add_argument("--epochs", type=int, default=20)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--blemish", default="build/release/blemish")
    a = p.parse_args()
    sizes = [int(s) for s in a.sizes.split(",")]
    os.makedirs(a.out)
    rows = make_data(a, sizes)
    tests = [r for r in rows if r[3] == "test"]
    models = []
    # All programs whose memory counts run before this one loads maps: a child's figure begins with its parent's.
    print("| model | training, s | training, MB | an image, ms | judging, MB |\n|---|---|---|---|---|", flush=True)
    for name, extra in ("whole", []), ("tiles", ["--tiles"]):
        model = os.path.join(a.out, name + ".blemish")
        seconds, memory = run([a.blemish, "train", "--data", os.path.join(a.out, "data.csv"), "--out", model, "--backbone",
                               "resnet18", "--weights", a.weights, "--set", "hidden=256", "--epochs", str(a.epochs), "--no-eval",
                               "--quiet", "--threads", str(a.threads), *extra])
        ms, mb = cost(a, model, tests[0][0])
        print(f"| {name} | {seconds:.0f} | {memory:.0f} | {ms:.0f} | {mb:.0f} |", flush=True)
        models.append((name, model))
    print("\n| model | defects | length | AUROC | found | AP-loc |\n|---|---|---|---|---|---|", flush=True)
    for name, model in models: measure(a, name, model, tests, sizes)


if __name__ == "__main__":
    main()
