#!/usr/bin/env python3
"""Training's throughput with its features in memory, in a file (--cache-mb 0), and in a file whose pages are taken away
again and again, as they are where the file is far larger than memory: then every entry is read from the disk. In turns.

Example: TMPDIR=/mnt/disk bench/cache.py
"""
import argparse
import csv
import ctypes
import os
import re
import statistics
import subprocess
import sys
import time

import documents
from prepare import made, run

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PIDFD_OPEN, PROCESS_MADVISE, MADV_PAGEOUT = 434, 440, 21  # Linux 5.10


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", type=int, default=64, help="training images (default %(default)s)")
    p.add_argument("--epochs", type=int, default=4, help="the first is not counted (default %(default)s)")
    p.add_argument("--rounds", type=int, default=3, help="turns of each (default %(default)s)")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--command", default=os.path.join(ROOT, "build/release/blemish"), metavar="FILE")
    p.add_argument("--cache", default=os.path.join(HERE, ".cache"), metavar="DIR")
    p.add_argument("--docs", action="store_true", help="write the table into docs/performance.md")
    return p.parse_args()


class Span(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("size", ctypes.c_size_t)]


def take_pages(child, libc, pidfd):
    """Writes back and drops what the child has of its feature file in memory."""
    with open("/proc/%d/maps" % child.pid) as f: found = re.search(r"^(\w+)-(\w+) .*/blemish-features-", f.read(), re.M)
    if not found: return
    os.sync()  # pages not yet written are kept
    start, end = (int(x, 16) for x in found.groups())
    if libc.syscall(PROCESS_MADVISE, pidfd, ctypes.byref(Span(start, end - start)), ctypes.c_size_t(1), MADV_PAGEOUT,
                    0) < 0:
        sys.exit("cache: process_madvise: %s" % os.strerror(ctypes.get_errno()))


def train(a, mb, evict):
    """(images a second of each epoch but the first, MB read from the disk)"""
    data = made(os.path.join(a.cache, "training-256-%d" % a.images), lambda out: run(
        a.command, "synth", out, "--size", "256", "--train-good", str(a.images), "--train-defect", "0", "--test-good",
        "0", "--test-defect", "0", "--quiet"))
    out = os.path.join(a.cache, "cache.blemish")
    child = subprocess.Popen([a.command, "train", "--data", data, "--out", out, "--size", "256", "--batch", "16",
                              "--epochs", str(a.epochs), "--threads", str(a.threads), "--cache-mb", str(mb), "--no-eval",
                              "--quiet"], stdout=subprocess.DEVNULL)
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd, read = libc.syscall(PIDFD_OPEN, child.pid, 0), 0
    # Its figures can be read as long as it has not been waited for.
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        with open("/proc/%d/io" % child.pid) as f: read = int(re.search(r"^read_bytes: (\d+)", f.read(), re.M)[1])
        if evict: take_pages(child, libc, pidfd)
        time.sleep(0.05)
    os.close(pidfd)
    if child.wait(): sys.exit("cache: blemish train failed")
    with open(out + ".csv") as f: rates = [float(row["images_per_second"]) for row in csv.DictReader(f)]
    return rates[1:], read / 1e6


def main():
    a = arguments()
    kinds = {"in memory": (4096, False), "in a file": (0, False), "in a file, its pages taken away": (0, True)}
    rates, read = {name: [] for name in kinds}, {}
    for _ in range(a.rounds):
        for name, (mb, evict) in kinds.items():
            found, read[name] = train(a, mb, evict)
            rates[name] += found
    first = statistics.median(rates["in memory"])
    lines = ["| features | images/s | of those in memory | MB read |", "|---|---|---|---|"]
    for name, r in rates.items():
        lines.append("| %s | %.1f | %.2f | %.0f |" % (name, statistics.median(r), statistics.median(r) / first, read[name]))
    documents.put(a.docs, "cache", "\n".join(lines) + "\n")


if __name__ == "__main__": main()
