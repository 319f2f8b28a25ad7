#!/usr/bin/env python3
"""How well `blemish audit` finds wrong labels: plants some, runs the audit, and says where they are in its ranking.

    bench/audit_planted.py DATA --out DIR [--wrong N] [--seed S] [--blemish FILE] [-- AUDIT OPTION...]

DATA is a folder as `blemish synth` writes it (or MVTec AD's) or the magnetic tile set. Drawn by the seed, N defects are
called good, and N good images are called defects without a mask, among training and test images alike; the rest keep
labels and masks. Of the 2 N planted labels are reported
    precision   the part of the first 2 N of the ranking that is planted
    recall      the part of the planted that is among the first 4 N
    AUROC       of the dispute: how often a planted label is disputed more than a right one (0.5: by chance)
Everything behind -- goes to the audit. Standard library only.
"""
import argparse
import csv
import glob
import os
import random
import subprocess
import sys
import time


def read_samples(data):
    """(path, is a defect, mask or "", split or "") of every image, sorted."""
    samples = []
    for path in glob.glob(os.path.join(data, "MT_*", "Imgs", "*.jpg")):
        defect = os.sep + "MT_Free" + os.sep not in path
        mask = os.path.splitext(path)[0] + ".png"
        samples.append((path, defect, mask if defect and os.path.exists(mask) else "", ""))
    for path in glob.glob(os.path.join(data, "train", "*", "*.png")) + glob.glob(os.path.join(data, "test", "*", "*.png")):
        split, kind, name = path.split(os.sep)[-3:]
        mask = os.path.join(data, "ground_truth", kind, name[:-4] + "_mask.png")
        samples.append((path, kind != "good", mask if os.path.exists(mask) else "", split))
    if not samples: sys.exit(f"{data}: found neither MT_*/Imgs/*.jpg nor train/*/*.png and test/*/*.png")
    return sorted(samples)


def plant(samples, wrong, seed):
    """Paths of `wrong` images of either label."""
    draw = random.Random(seed)
    planted = set()
    for label in (True, False):
        paths = [s[0] for s in samples if s[1] == label]
        if len(paths) <= wrong: sys.exit(f"--wrong: found {wrong}, expected less than the {len(paths)} images of a label")
        planted.update(draw.sample(paths, wrong))
    return planted


def write_manifest(path, samples, planted):
    with open(path, "w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["path", "label", "mask", "split"])
        for image, defect, mask, split in samples:
            if image in planted: defect, mask = not defect, ""
            table.writerow([image, "defect" if defect else "good", mask, split])


def auroc(positive, negative):
    wins = sum((p > n) + (p == n) / 2 for p in positive for n in negative)
    return wins / (len(positive) * len(negative))


def report(rows, planted):
    """rows: (path, called, dispute), the most disputed first."""
    n = len(planted)
    first = lambda k: sum(path in planted for path, _, _ in rows[:k])
    right = [d for path, _, d in rows if path not in planted]
    print(f"{len(rows)} labels, {n} of them wrong: precision {first(n) / n:.3f} in the first {n}, "
          f"recall {first(2 * n) / n:.3f} in the first {2 * n}, AUROC {auroc([d for p, _, d in rows if p in planted], right):.3f}")
    for called, what in (("good", "defects called good"), ("defect", "good images called defects")):
        wrong = [d for path, c, d in rows if path in planted and c == called]
        right = [d for path, c, d in rows if path not in planted and c == called]
        disputed = sum(d > 0 for d in wrong)
        print(f"  {what}: {disputed} of {len(wrong)} disputed, AUROC {auroc(wrong, right):.3f} "
              f"among {len(wrong) + len(right)}; {sum(d > 0 for d in right)} right labels disputed")


def main():
    arguments, audit = sys.argv[1:], []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, audit = arguments[:at], arguments[at + 1:]
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("data")
    p.add_argument("--out", required=True, help="a new folder for the manifest and the audit")
    p.add_argument("--wrong", type=int, default=10, help="wrong labels of either kind")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--blemish", default=os.path.join(here, "..", "build", "release", "blemish"))
    a = p.parse_args(arguments)
    samples = read_samples(os.path.abspath(a.data))
    planted = plant(samples, a.wrong, a.seed)
    os.makedirs(a.out)
    manifest, disputed = os.path.join(a.out, "planted.csv"), os.path.join(a.out, "audit")
    write_manifest(manifest, samples, planted)
    start = time.monotonic()
    subprocess.run([a.blemish, "audit", "--data", manifest, "--out", disputed, "--overlays", "0", *audit], check=True)
    print(f"audit: {time.monotonic() - start:.0f} s")
    with open(os.path.join(disputed, "audit.csv"), newline="") as f:
        report([(r["path"], r["label"], float(r["dispute"])) for r in csv.DictReader(f)], planted)


main()
