#!/usr/bin/env python3
"""Times a training step of blemish against the same step in PyTorch, in one run, alternating.

PyTorch runs the reference program's (ssn_reference.py) networks as published: the backbone in the loop, features lifted
to full resolution, noise on a mask of an eighth of the pixels, both heads on 2B samples, the loss, backward, AdamW.
blemish trains by `blemish train` on the same number of images a step, without supervision (the recipe with most noise).
Its features are computed once before the first epoch: that pass is timed apart (--profile prints it) and not counted in
its images a second, as it is a three-hundredth of a training by the published recipe.

Example: bench/training.py --backbone wide_resnet50_2 --batch 8 --threads 2
"""
import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time

import prepare
from peers import HERE, ROOT, processor


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--backbone", default="wide_resnet50_2",
                   choices=["wide_resnet50_2", "resnet50", "resnet34", "resnet18"])
    p.add_argument("--size", type=int, default=256, help="height and width, pixels (default %(default)s)")
    p.add_argument("--batch", type=int, default=8, help="images a step; PyTorch needs about 1.2 GB for each of them at "
                   "256 with wide_resnet50_2 (default %(default)s)")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3, help="turns of each (default %(default)s)")
    p.add_argument("--steps", type=int, default=8, help="steps a turn of blemish (default %(default)s)")
    p.add_argument("--library", default=os.path.join(ROOT, "build/release/libblemish.so"), metavar="FILE")
    p.add_argument("--reference", default=os.path.join(ROOT, "../shared/reference"), metavar="DIR")
    p.add_argument("--venv", default=os.path.join(HERE, ".venv"), metavar="DIR")
    p.add_argument("--cache", default=os.path.join(HERE, ".cache"), metavar="DIR")
    p.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    a = p.parse_args()
    if min(a.size, a.batch, a.threads, a.rounds, a.steps) < 1: p.error("sizes and counts: expected 1 or more")
    a.library, a.cache, a.venv = map(os.path.abspath, (a.library, a.cache, a.venv))
    a.command = os.path.join(os.path.dirname(a.library), "blemish")
    a.contenders = []  # prepare.environments: nothing but PyTorch
    for path in a.command, os.path.join(a.reference, "ssn_reference.py"):
        if not os.path.exists(path): p.error("%s: not found" % path)
    return a


class PyTorchStep:
    """One step of the reference at full resolution."""

    def __init__(self, a):
        import torch
        sys.path.insert(0, a.reference)
        import ssn_reference as reference
        torch.manual_seed(0)
        torch.set_num_threads(a.threads)
        self.torch, self.reference, self.version = torch, reference, torch.__version__
        self.backbone = reference.Backbone(a.backbone, None)
        self.image = torch.randn(a.batch, 3, a.size, a.size)
        with torch.no_grad(): self.shape = reference.lift(*self.backbone(self.image[:1])).shape
        self.heads = reference.Heads(self.shape[1]).train()
        self.optimiser = torch.optim.AdamW([
            dict(params=self.heads.adaptor.parameters(), lr=1e-4, weight_decay=1e-2),
            dict(params=self.heads.seg.parameters(), lr=2e-4, weight_decay=1e-5),
            dict(params=self.heads.cls.parameters(), lr=2e-4, weight_decay=1e-5)])

    def run(self):
        torch, reference, two = self.torch, self.reference, 2 * len(self.image)
        with torch.no_grad(): features = reference.lift(*self.backbone(self.image))
        c, h, w = self.shape[1:]
        mask = torch.zeros(two, 1, h, w)
        mask[:, :, :h // 2, :w // 4] = 1
        noise = torch.randn(two, c, h, w) * 0.015 * mask
        adapted = self.heads.adaptor(features).repeat(2, 1, 1, 1)
        m, score = self.heads(adapted + noise, features.repeat(2, 1, 1, 1) + noise, True)
        loss = sum(reference.loss_terms(m, score, mask, torch.ones(two), torch.ones(two)).values())
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


def blemish_rates(a, bf16):
    """Images a second of every epoch but the first, which warms up: an epoch is `steps` steps."""
    data = os.path.join(a.cache, "training-%d-%d" % (a.size, a.batch * a.steps))
    weights = os.path.join(a.cache, a.backbone + ".pth")
    prepare.made(data, lambda out: prepare.run(
        a.command, "synth", out, "--size", str(a.size), "--train-good", str(a.batch * a.steps), "--train-defect", "0",
        "--test-good", "0", "--test-defect", "0", "--quiet"))
    prepare.made(weights, lambda out: prepare.run(
        sys.executable, "-W", "ignore", os.path.join(a.reference, "ssn_reference.py"), "pth", out, "--backbone",
        a.backbone))
    out = os.path.join(a.cache, "training.blemish")
    done = subprocess.run([a.command, "train", "--data", data, "--out", out, "--backbone", a.backbone, "--weights",
                           weights, "--size", str(a.size), "--batch", str(a.batch), "--epochs", "3", "--threads",
                           str(a.threads), "--set", "train.bf16=%d" % bf16, "--no-eval", "--quiet"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode: return None, done.stderr.strip()
    with open(out + ".csv") as f: rates = [float(row["images_per_second"]) for row in csv.DictReader(f)]
    return rates[1:], None


def main():
    a = arguments()
    timing, _ = prepare.environments(a)
    if os.path.realpath(sys.prefix) != os.path.realpath(a.venv):
        os.execv(timing, [timing, os.path.abspath(__file__)] + sys.argv[1:])
    step = PyTorchStep(a)
    rates = {"blemish-fp32": [], "blemish-bf16": [], "pytorch-fp32": []}
    left_out = {}
    step.run()  # memory is allocated untimed
    for _ in range(a.rounds):
        for bf16, name in enumerate(["blemish-fp32", "blemish-bf16"]):
            if name in left_out: continue
            found, why = blemish_rates(a, bf16)
            if found is None and not bf16: sys.exit("training: " + why)
            if found is None: left_out[name] = why
            else: rates[name] += found
        start = time.perf_counter()
        step.run()
        rates["pytorch-fp32"].append(a.batch / (time.perf_counter() - start))
    rows = {name: dict(images_per_s=statistics.median(r), steps=len(r)) for name, r in rates.items() if r}
    for row in rows.values(): row["ratio"] = row["images_per_s"] / rows["pytorch-fp32"]["images_per_s"]
    setting = dict(processor=processor(), backbone=a.backbone, size=a.size, batch=a.batch, threads=a.threads,
                   pytorch=step.version)
    if a.json: return print(json.dumps(dict(setting, runtimes=rows, left_out=left_out)))
    print("training, %(backbone)s, %(size)d x %(size)d, batch %(batch)d, %(threads)d threads, PyTorch %(pytorch)s, "
          "%(processor)s" % setting)
    print("%-16s %12s %7s" % ("", "images/s", "ratio"))
    for name, row in rows.items(): print("%-16s %12.2f %7.2f" % (name, row["images_per_s"], row["ratio"]))
    for name, why in left_out.items(): print("%s is left out: %s" % (name, why))


if __name__ == "__main__": main()
