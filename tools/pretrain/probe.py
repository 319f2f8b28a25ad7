"""How well a backbone's features tell procedural defects, which no backbone is trained on, from good samples.

usage: probe.py WEIGHTS|random ... [--size 128] [--without FAMILIES] [--layers 2|3|23]
For one new material of every family: a nearest-neighbour detector on layer2 and layer3 (averaged over 3x3, layer3 enlarged
to layer2, as the heads do) knows 24 good samples and judges 16 good ones and 40 with defects, four of each kind. A
picture's score is its place farthest from all places it knows. Prints the mean AUROC over the families, that over the
families of --without, and by kind of defect. Seeds are fixed: the figures of two runs are of the same pictures.
"""
import argparse

import numpy as np
import torch
import torch.nn.functional as F

from surfaces import Surfaces
from trunk import Trunk, load, normalised

GOOD, TEST, EACH = 24, 16, 4
HELD_OUT = "brushed,leather,rolled,wood,weave,casting,capsule,granite"


def lifted(trunk, rgb, device, layers):
    """(n, h/8 * w/8, channels of the layers: 128 and 256): what the heads see, before their enlargement."""
    out = []
    with torch.no_grad():
        for at in range(0, len(rgb), 64):
            f2, f3 = trunk(normalised(rgb[at:at + 64]).to(device).contiguous(memory_format=torch.channels_last))
            f3 = F.interpolate(f3, f2.shape[2:], mode="bilinear", align_corners=True)
            seen = torch.cat([f for f, layer in ((f2, "2"), (f3, "3")) if layer in layers], 1)
            out.append(F.avg_pool2d(seen, 3, 1, 1).flatten(2).transpose(1, 2))
    return torch.cat(out)


def scores(bank, tests, standard):
    """Largest distance of a picture's places to their nearest neighbours; with `standard`, every channel in units of its
    deviation."""
    deviation = bank.flatten(0, 1).std(0) + 1e-6 if standard else 1
    bank = (bank.flatten(0, 1) / deviation).bfloat16()
    norm = bank.float().square().sum(1)
    result = []
    for t in tests:
        t = t / deviation
        d = t.square().sum(1)[:, None] + norm[None] - 2 * (t.bfloat16() @ bank.t()).float()
        result.append(d.min(1).values.max().item())
    return np.array(result)


def auroc(good, bad):
    greater = (bad[:, None] > good[None]).mean()
    return greater + 0.5 * (bad[:, None] == good[None]).mean()


def probe(trunk, size, device="cpu", nuisance=0.5, layers="23"):
    """{family: AUROC}, {defect: AUROC}, and the mean AUROC over the families with plain distances."""
    surfaces = Surfaces(size=size, seed=90001, nuisance=nuisance)
    kinds = len(surfaces.defect_names)
    by_family, by_defect, plain = {}, {}, []
    defects = np.concatenate([np.full(GOOD + TEST, -1), np.repeat(np.arange(kinds), EACH)])
    for program in range(len(surfaces.families)):
        rgb, _ = surfaces.paint(np.full(len(defects), program), np.arange(len(defects)), defects)
        features = lifted(trunk, rgb, device, layers)
        s = scores(features[:GOOD], features[GOOD:], False)
        plain.append(auroc(s[:TEST], s[TEST:]))
        s = scores(features[:GOOD], features[GOOD:], True)
        good, bad = s[:TEST], s[TEST:].reshape(kinds, EACH)
        by_family[surfaces.family_of(program)] = auroc(good, bad.reshape(-1))
        for kind, name in enumerate(surfaces.defect_names):
            by_defect.setdefault(name, []).append(auroc(good, bad[kind]))
    return by_family, {k: float(np.mean(v)) for k, v in by_defect.items()}, np.mean(plain)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("weights", nargs="+")
    p.add_argument("--size", type=int, default=128)
    p.add_argument("--without", default=HELD_OUT)
    p.add_argument("--layers", default="23", choices=("2", "3", "23"),
                   help="whose features are judged (default %(default)s)")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--families", action="store_true", help="print every family")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for weights in a.weights:
        torch.manual_seed(0)
        trunk = (Trunk().eval() if weights == "random" else load(weights)).to(device, memory_format=torch.channels_last)
        by_family, by_defect, plain = probe(trunk, a.size, device, layers=a.layers)
        print("%s: AUROC %.4f, held-out families %.4f, plain distances %.4f; %s" %
              (weights, np.mean(list(by_family.values())), np.mean([by_family[f] for f in a.without.split(",")]), plain,
               ", ".join("%s %.3f" % i for i in by_defect.items())), flush=True)
        if a.families:
            print("  " + ", ".join("%s %.3f" % i for i in by_family.items()))


if __name__ == "__main__":
    main()
