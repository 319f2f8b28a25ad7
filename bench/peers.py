#!/usr/bin/env python3
"""Times blemish against other runtimes on the same network, weights, images and cores, in one run.

The other runtimes execute the graph as published, exported by the reference program (ssn_reference.py) with the test
values as weights or those of --model; blemish is called through its public C API from 8-bit pixels on, so its
preprocessing is timed and theirs is not. Every contender must first give blemish-fp32's maps and scores. Then they
alternate, round by round, because absolute times drift on a shared machine: quote the ratio of medians.

The first run makes two virtual environments, images, graphs and int8 models, which needs a network, and PyTorch from
Debian's packages (python3-torch and python3-torchvision are the CPU build, a thirtieth of PyPI's).

Example: bench/peers.py --backbone wide_resnet50_2 --size 256 --batch 1 --threads 2 --contenders all
"""
import argparse
import json
import os
import statistics
import sys
import time

import prepare
from contenders import CONTENDERS, RUNTIMES, Refused

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TOLERANCE = 1e-4  # fp32: of maps and scores, both in [0, 1]: what the golden files are held to
# bf16 and int8 round, and random-like test weights spread that out over the whole map: what must stay is the shape of
# the maps, their correlation with blemish-fp32's over all pixels, before the sigmoid and whatever their scale.
CORRELATION = {"bf16": 0.99, "int8": 0.95}
CORRELATION_TEST_WEIGHTS = {"bf16": 0.95, "int8": 0.5}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--backbone", default="wide_resnet50_2",
                   choices=["wide_resnet50_2", "resnet50", "resnet34", "resnet18"])
    p.add_argument("--size", type=int, default=256, help="height and width, pixels (default %(default)s)")
    p.add_argument("--batch", type=int, default=1, help="images a run (default %(default)s)")
    p.add_argument("--threads", type=int, default=2, help="of every runtime (default %(default)s)")
    p.add_argument("--contenders", default="blemish-fp32,onnxruntime-fp32", metavar="LIST",
                   help="comma-separated, or all: %s (default %%(default)s)" % ", ".join(CONTENDERS))
    p.add_argument("--model", metavar="FILE", help="a trained model of that backbone and size (JIMS, fp32); default: "
                   "test values, a function of each parameter's name")
    p.add_argument("--data", metavar="DIR", help="images to run and, the good ones, to calibrate int8 on; default: "
                   "made by 'blemish synth'")
    p.add_argument("--rounds", type=int, default=15, help="most turns of every contender (default %(default)s)")
    p.add_argument("--seconds", type=float, default=60, help="start no round after them; three rounds are always run "
                   "(default %(default)s)")
    p.add_argument("--repeat", type=int, default=3, help="most timed runs a turn (default %(default)s)")
    p.add_argument("--library", default=os.path.join(ROOT, "build/release/libblemish.so"), metavar="FILE",
                   help="with the command 'blemish' beside it (default build/release/libblemish.so)")
    p.add_argument("--reference", default=os.path.join(ROOT, "../shared/reference"), metavar="DIR",
                   help="the folder of ssn_reference.py (default ../shared/reference)")
    p.add_argument("--venv", default=os.path.join(HERE, ".venv"), metavar="DIR",
                   help="and DIR-quantise, made where they are missing")
    p.add_argument("--cache", default=os.path.join(HERE, ".cache"), metavar="DIR", help="of images, graphs and models")
    p.add_argument("--prepare", action="store_true", help="make what is missing and time nothing; with --json "
                   "print the model files and an image")
    p.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    a = p.parse_args()
    a.contenders = CONTENDERS if a.contenders == "all" else a.contenders.split(",")
    for name in a.contenders:
        if name not in CONTENDERS: p.error("--contenders: found %s, expected %s" % (name, ", ".join(CONTENDERS)))
    if "blemish-fp32" not in a.contenders: a.contenders = ["blemish-fp32"] + a.contenders  # the others' measure
    if min(a.size, a.batch, a.threads, a.rounds, a.repeat) < 1: p.error("sizes and counts: expected 1 or more")
    if a.batch > prepare.TIMED: p.error("--batch: found %d, expected 1 to %d" % (a.batch, prepare.TIMED))
    a.library, a.cache, a.venv = map(os.path.abspath, (a.library, a.cache, a.venv))
    a.command = os.path.join(os.path.dirname(a.library), "blemish")
    for option, path, hint in (("--library", a.library, "build it: cmake --preset release && cmake --build --preset "
                                "release"), ("--library", a.command, "the command belongs beside the library"),
                               ("--reference", os.path.join(a.reference, "ssn_reference.py"), "it must be supplied, "
                                "see bench/README.md"), ("--model", a.model or HERE, "a model file"),
                               ("--data", a.data or HERE, "a folder of images")):
        if not os.path.exists(path): p.error("%s: %s: not found; %s" % (option, path, hint))
    return a


# ---- agreement --------------------------------------------------------------------------------------------

def logit(maps):
    import numpy as np
    p = np.clip(maps.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.log(p / (1 - p))


def compare(ours, its):
    """Largest differences of maps and scores, and the correlation of map logits over all pixels."""
    import numpy as np
    x, y = logit(ours[0]).ravel(), logit(its[0]).ravel()
    correlation = float(np.corrcoef(x, y)[0, 1]) if x.std() > 0 and y.std() > 0 else float("nan")
    return dict(map_difference=float(np.abs(its[0] - ours[0]).max()),
                score_difference=float(np.abs(its[1] - ours[1]).max()), map_correlation=correlation)


def judge(name, precision, row, least):
    """One line where a contender's results are too far from blemish-fp32's, else None."""
    if precision == "fp32":
        if max(row["map_difference"], row["score_difference"]) <= TOLERANCE: return None
        return ("%s: map and score differ from blemish-fp32's by %.2g and %.2g, expected %g at most"
                % (name, row["map_difference"], row["score_difference"], TOLERANCE))
    if row["map_correlation"] >= least[precision]: return None
    return ("%s: the map logits' correlation with blemish-fp32's is %.4f, expected %g or more"
            % (name, row["map_correlation"], least[precision]))


# ---- timing -----------------------------------------------------------------------------------------------

def turn(runtime, repeat, times):
    time.sleep(0.02)  # the previous runtime's idle threads spin for a few milliseconds
    start = time.perf_counter()
    runtime.run()  # caches and threads come back untimed
    once = time.perf_counter() - start
    for _ in range(repeat if once < 0.5 else 1):
        start = time.perf_counter()
        runtime.run()
        times.append(1e3 * (time.perf_counter() - start))


def measure(a):
    """Rows by contender, and what was left out with the reason."""
    import numpy as np
    from quantise import normalise
    pixels = np.ascontiguousarray(np.load(a.images)[:a.batch])
    x, runtimes, rows, refused = normalise(pixels), {}, {}, {}
    for name in a.contenders:
        runtime, precision = name.rsplit("-", 1)
        try: runtimes[name] = RUNTIMES[runtime](a, pixels, x, precision)
        except Refused as reason: refused[name] = str(reason)
        else: rows[name] = dict(version=runtimes[name].version, precision=precision, times_ms=[])

    ours = runtimes["blemish-fp32"].outputs()
    least = CORRELATION if a.model else CORRELATION_TEST_WEIGHTS
    wrong = []
    for name, runtime in runtimes.items():
        if name == "blemish-fp32": continue
        rows[name].update(compare(ours, runtime.outputs()))
        wrong.append(judge(name, rows[name]["precision"], rows[name], least))
    if any(wrong): sys.exit("\n".join("peers: " + w for w in wrong if w))

    started = time.perf_counter()
    for done in range(a.rounds):
        if done >= 3 and time.perf_counter() - started > a.seconds: break
        for name, runtime in runtimes.items(): turn(runtime, a.repeat, rows[name]["times_ms"])
    for row in rows.values():
        times = sorted(row.pop("times_ms"))
        row.update(median_ms=statistics.median(times), min_ms=times[0],
                   p99_ms=times[min(len(times) - 1, int(0.99 * len(times)))], runs=len(times))
    for row in rows.values(): row["ratio"] = row["median_ms"] / rows["blemish-fp32"]["median_ms"]
    return rows, refused


def processor():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown")


def main():
    a = arguments()
    timing, quantising = prepare.environments(a)
    if os.path.realpath(sys.prefix) != os.path.realpath(a.venv):
        os.execv(timing, [timing, os.path.abspath(__file__)] + sys.argv[1:])
    prepare.prepare(a, quantising)
    files = dict(fp32=a.model_fp32, int8=a.model_int8, image=prepare.first_image(a))
    if a.prepare: return print(json.dumps(files)) if a.json else None
    rows, refused = measure(a)
    least = CORRELATION if a.model else CORRELATION_TEST_WEIGHTS
    setting = dict(processor=processor(), backbone=a.backbone, size=a.size, batch=a.batch, threads=a.threads,
                   weights=os.path.basename(a.model) if a.model else "test values", tolerance=TOLERANCE,
                   least_correlation=least)
    if a.json: return print(json.dumps(dict(setting, runtimes=rows, left_out=refused)))
    print("%(backbone)s, %(size)d x %(size)d, batch %(batch)d, %(threads)d threads, %(weights)s, %(processor)s" % setting)
    print("agreement: fp32 within %g of blemish-fp32's maps and scores; correlation of the map logits at least %s"
          % (TOLERANCE, ", ".join("%g in %s" % (v, k) for k, v in least.items())))
    columns = "%-28s %10s %9s %9s %7s %9s %10s %11s"
    print(columns % ("contender", "median ms", "min ms", "p99 ms", "ratio", "map diff", "score diff", "correlation"))
    for name, r in rows.items():
        agreement = ["%.1e" % r["map_difference"], "%.1e" % r["score_difference"], "%.5f" % r["map_correlation"]] \
            if "map_difference" in r else [""] * 3
        print(columns % (name + " " + r["version"], "%.2f" % r["median_ms"], "%.2f" % r["min_ms"], "%.2f" % r["p99_ms"],
                         "%.2f" % r["ratio"], *agreement))
    for name, reason in refused.items(): print("%s is left out: %s" % (name, reason))


if __name__ == "__main__": main()
