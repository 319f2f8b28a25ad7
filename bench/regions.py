#!/usr/bin/env python3
"""What a region of interest buys and costs (docs/regions.md).

    bench/regions.py --weights FILE --out DIR [--families leather,casting] [--nuisance X] [--epochs N] [--blemish FILE]

Makes parts of 128x128 images: a disc of a surface on a wooden tray that is the same in all, with specks on the tray of
every test image. Trains one recipe without a region and with a learned one, gives the first model the region afterwards,
and evaluates the three over one test set, at their own thresholds and calibrated on other images (`--rule conformal`:
5 % false alarms). numpy and Pillow.
"""
import argparse
import json
import os
import subprocess
import sys

import numpy as np
from PIL import Image

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tools/pretrain"))
from surfaces import Surfaces

SIDE = 128


def distance():
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    return np.hypot(y, x) / SIDE


class Parts:
    """A disc of one surface's samples on the tray."""

    def __init__(self, family, nuisance):
        self.surface = Surfaces(size=(SIDE, SIDE), families=[family], threads=1, nuisance=nuisance)
        self.tray = Surfaces(size=(SIDE, SIDE), families=["wood"], seed=4, threads=1, nuisance=0).paint([0], [0])[0]
        self.inside = distance()[..., None] < 0.36
        self.random = np.random.default_rng(0)

    def specks(self, image):
        y, x = np.mgrid[:SIDE, :SIDE]
        far = np.argwhere(distance()[4:-4, 4:-4] > 0.5) + 4
        for v, u in far[self.random.integers(len(far), size=self.random.integers(2, 6))]:
            weight = 0.7 * np.exp(-((((y - v) ** 2 + (x - u) ** 2) / self.random.uniform(2, 5) ** 2) ** 2))[..., None]
            image = image * (1 - weight) + self.random.uniform(0, 255, 3) * weight
        return image

    def image(self, sample, specks, defect=-1):
        """The image and the mask of its defect."""
        painted = self.surface.paint([0], [sample], [defect]) if defect >= 0 else (self.surface.paint([0], [sample]), None)
        image = np.where(self.inside, painted[0][0], self.tray + self.random.normal(0, 1.5, (SIDE, SIDE, 3)))
        image = (self.specks(image) if specks else image).clip(0, 255).astype(np.uint8)
        return image, painted[1][0] * self.inside[..., 0] if defect >= 0 else None


def save(image, *path):
    os.makedirs(os.path.join(*path[:-1]), exist_ok=True)
    Image.fromarray(image).save(os.path.join(*path))


def make_data(parts, a, out, first):
    """Training images are the same for every `first`."""
    for i in range(a.train): save(parts.image(i, False)[0], out, "train/good", f"{i:03d}.png")
    for i in range(a.test): save(parts.image(first + i, True)[0], out, "test/good", f"{i:03d}.png")
    names = parts.surface.defect_names
    for i in range(a.test):
        image, mask = parts.image(first + a.test + i, True, i % len(names))
        save(image, out, "test", names[i % len(names)], f"{i:03d}.png")
        save(mask, out, "ground_truth", names[i % len(names)], f"{i:03d}.png")


def run(a, *command):
    done = subprocess.run([a.blemish, *command, "--quiet"], stdout=subprocess.PIPE, text=True)
    if done.returncode: raise SystemExit(f"{' '.join(command)}: failed")
    return done.stdout


def evaluate(a, model, data):
    v = json.loads(run(a, "eval", model, "--data", data, "--json", "--threads", "1"))
    return v, f"{v['verdicts']['found']}, {v['verdicts']['false_alarms']}"


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    p.add_argument("--weights", required=True, help="a resnet18 file")
    p.add_argument("--out", required=True, help="a folder that is not there yet")
    p.add_argument("--families", default="leather,casting")
    p.add_argument("--nuisance", type=float, default=0.2, help="how much samples of a surface differ, 0 to 1")
    p.add_argument("--train", type=int, default=32, help="good images")
    p.add_argument("--test", type=int, default=60, help="good images, and defective ones")
    p.add_argument("--epochs", type=int, default=30)
    p.add_argument("--blemish", default=os.path.join(ROOT, "build/release/blemish"))
    a = p.parse_args()
    os.makedirs(a.out)
    print(f"found, false alarms: of {a.test}\n\n| | | I-AUROC | P-AUROC | AUPRO | found, false alarms | calibrated |\n|---|---|---|---|---|---|---|")
    for family in a.families.split(","):
        parts = Parts(family, a.nuisance)
        data, other = (os.path.join(a.out, family + which) for which in ("", "-other"))
        make_data(parts, a, data, 1000)
        make_data(parts, a, other, 2000)
        names = {name: os.path.join(a.out, f"{family}-{name}.blemish") for name in ("none", "trained", "afterwards")}
        train = ["train", "--data", data, "--backbone", "resnet18", "--weights", a.weights, "--size", str(SIDE), "--batch",
                 "8", "--epochs", str(a.epochs), "--no-eval", "--threads", "1"]
        run(a, *train, "--out", names["none"])
        run(a, *train, "--out", names["trained"], "--roi", "learn")
        run(a, "roi", names["none"], "--learn", "--data", data, "--out", names["afterwards"])
        for name, model in names.items():
            v, own = evaluate(a, model, data)
            calibrated = model + ".calibrated"
            run(a, "calibrate", model, "--data", other, "--rule", "conformal", "--verdict", "score", "--out", calibrated,
                "--threads", "1")
            print(f"| {family} | {name} | {v['i_auroc']:.2f} | {v['p_auroc']:.2f} | {v['aupro']:.2f} | {own} |"
                  f" {evaluate(a, calibrated, data)[1]} |", flush=True)


if __name__ == "__main__":
    main()
