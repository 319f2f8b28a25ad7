"""Trains a backbone on procedural surfaces without defects (docs/backbone.md). Runs on a GPU where there is one, resumes
exactly from its checkpoint: one long run can be made of many short ones.

usage: pretrain.py RUN [options]      RUN is a folder: checkpoint.pt, log.csv, builtin.safetensors, run.json
The learning rate is constant after a warm-up and falls to zero over the last --cooldown of the steps. The state where
it begins to fall is kept as stable.pt: a finished run is prolonged by the same command with more --steps.
"""
import argparse
import csv
import json
import os
import signal
import sys
import time

import torch

import objectives
from optimiser import Muon
from pictures import Pictures, lay_pieces
from surfaces import Surfaces
from trunk import Trunk, load, write_safetensors

TERMS = ("nearest", "program", "local", "instance", "masked")


def repeats(a):
    """Pictures of a program in a batch."""
    return 4 if "nearest" in a.objective else 2 if "instance" in a.objective else 1


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run")
    p.add_argument("--steps", type=int, default=20000)
    p.add_argument("--objective", default="nearest=1", help="weights of %s (default %%(default)s)" %
                   ", ".join(TERMS))
    p.add_argument("--programs", type=int, default=820, help="materials (default %(default)s)")
    p.add_argument("--families", default="all", help="comma-separated (default %(default)s)")
    p.add_argument("--without", default="", help="families that are left out")
    p.add_argument("--size", type=int, default=96)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--pieces", type=int, default=1, help="0: no pieces of other surfaces in the pictures")
    p.add_argument("--own", type=float, default=0, metavar="SHARE",
                   help="of the pieces, so many are of the picture itself, altered (default %(default)s)")
    p.add_argument("--rate", type=float, default=2e-3)
    p.add_argument("--muon", type=float, default=0.02, help="its learning rate; 0: AdamW alone (default %(default)s)")
    p.add_argument("--decay", type=float, default=0.05)
    p.add_argument("--cooldown", type=float, default=0.3)
    p.add_argument("--start", metavar="FILE", help="weights to begin with, otherwise random ones")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--version", default="0", help="for the file's metadata (default %(default)s)")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--stop-after", type=int, metavar="N", help="end after N steps; the same command goes on")
    a = p.parse_args()
    try:
        a.objective = {k: float(v) for k, v in (part.split("=") for part in a.objective.split(","))}
    except ValueError:
        p.error("--objective: found %s, expected TERM=WEIGHT,.." % a.objective)
    for term in a.objective:
        if term not in TERMS:
            p.error("--objective: found %s, expected %s" % (term, ", ".join(TERMS)))
    if not 0 <= a.own <= 1:
        p.error("--own: found %g, expected 0 to 1" % a.own)
    if a.batch < 2 * repeats(a) or a.batch % repeats(a):
        p.error("--batch: found %d, expected a multiple of %d, %d or more" % (a.batch, repeats(a), 2 * repeats(a)))
    return a


class Network(torch.nn.Module):
    def __init__(self, a):
        super().__init__()
        self.weights, self.pieces, self.repeats, self.own = a.objective, a.pieces, repeats(a), a.own
        self.nearest = objectives.Nearest()
        self.trunk = Trunk()
        if self.weights.keys() & {"program", "local"}:
            self.program = objectives.Program(Trunk.channels, a.programs)
        if "instance" in self.weights:
            self.instance = objectives.Instance(Trunk.channels)
        if "masked" in self.weights:
            self.masked = objectives.Masked(Trunk.channels)

    def forward(self, x, label, step):
        """The terms of the loss at a step, by name."""
        draw = torch.Generator().manual_seed(step)
        other, share, terms = torch.arange(len(x)), torch.zeros_like(x[:, :1]), {}
        if self.pieces:
            x, other, share = lay_pieces(x, step, self.repeats, self.own)
        seen = x
        if "masked" in self.weights:
            seen, hidden = objectives.Masked.hide(x, draw)
        device = self.trunk.conv1.weight.device
        seen, label, other, share = (t.to(device) for t in (seen, label, other, share))
        features = self.trunk(seen.contiguous(memory_format=torch.channels_last))
        if "nearest" in self.weights:
            terms["nearest"] = self.nearest(features, share, self.repeats)
        if hasattr(self, "program"):
            terms["program"], terms["local"] = self.program(features, label, other, share, draw)
        if hasattr(self, "instance"):
            terms["instance"] = self.instance(features, label)
        if hasattr(self, "masked"):
            terms["masked"] = self.masked(features, x.to(device), hidden.to(device))
        return terms


def optimisers(network, a):
    convolutions = [p for p in network.trunk.parameters() if p.ndim == 4]
    matrices = [p for p in network.parameters() if p.ndim == 2]
    vectors = [p for p in network.parameters() if p.ndim == 1]
    others = [p for p in network.parameters() if p.ndim == 4 and all(p is not c for c in convolutions)]
    adam = [{"params": matrices + others, "weight_decay": a.decay}, {"params": vectors, "weight_decay": 0}]
    if a.muon:
        return [torch.optim.AdamW(adam, lr=a.rate, fused=True), Muon(convolutions, a.muon, weight_decay=a.decay)]
    adam[0]["params"] += convolutions
    return [torch.optim.AdamW(adam, lr=a.rate, fused=True)]


def slope(step, a):
    """What the learning rates are multiplied by."""
    return min(1, (step + 1) / 200, (a.steps - step) / max(a.cooldown * a.steps, 1))


def save(path, state):
    torch.save(state, path + ".part")
    os.replace(path + ".part", path)


def identity(a):
    """What a checkpoint must share with the command that resumes it."""
    return {k: v for k, v in vars(a).items() if k not in ("run", "steps", "cooldown", "threads", "stop_after", "version")}


def resume(a, network, optimise):
    """The step to go on with."""
    for name in ("checkpoint.pt", "stable.pt"):
        path = os.path.join(a.run, name)
        if not os.path.exists(path):
            continue
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["identity"] != identity(a):
            sys.exit("%s: identity: found %s, expected %s" % (path, state["identity"], identity(a)))
        # While the rate falls, a run may only end where it was meant to; from stable.pt it may be prolonged.
        if name == "checkpoint.pt" and state["step"] > state["steps"] * (1 - a.cooldown) and state["steps"] != a.steps:
            continue
        network.load_state_dict(state["network"])
        for o, saved in zip(optimise, state["optimisers"]):
            o.load_state_dict(saved)
        return state["step"]
    return 0


def main():
    a = arguments()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    os.makedirs(a.run, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = Network(a)
    if a.start:
        network.trunk.load_state_dict(load(a.start).state_dict())
    optimise = optimisers(network, a)
    first = resume(a, network, optimise)
    network.to(device, memory_format=torch.channels_last)
    for state in (state for o in optimise for state in o.state.values()):
        for k, v in state.items():
            state[k] = v.to(device) if v.ndim else v
    families = Surfaces().family_names if a.families == "all" else a.families.split(",")
    families = [f for f in families if f not in a.without.split(",")]
    pictures = Pictures(a.batch, a.size, a.programs, repeats(a), families, a.seed, 1)

    stop = []
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, lambda *_: stop.append(1))

    def state(step):
        return {"identity": identity(a), "step": step, "steps": a.steps, "network": network.state_dict(),
                "optimisers": [o.state_dict() for o in optimise]}

    log = open(os.path.join(a.run, "log.csv"), "a", newline="")
    rows = csv.writer(log)
    begin, sums, count = time.monotonic(), {}, 0
    for step, label, x in pictures.batches(first):
        if stop or step == a.steps or (a.stop_after and step == first + a.stop_after):
            break
        if step == round(a.steps * (1 - a.cooldown)):
            save(os.path.join(a.run, "stable.pt"), state(step))
        for o in optimise:
            for group in o.param_groups:
                group["lr"] = group.setdefault("full", group["lr"]) * slope(step, a)
        with torch.autocast(device, torch.bfloat16):
            terms = network(x, label, step)
            loss = sum(a.objective[k] * v for k, v in terms.items() if k in a.objective)
        network.zero_grad(set_to_none=True)
        loss.backward()
        for o in optimise:
            o.step()
        for k, v in terms.items():
            sums[k] = sums.get(k, 0) + v.item()
        count += 1
        if (step + 1) % 50 == 0:
            speed = (step + 1 - first) * a.batch / (time.monotonic() - begin)
            values = {k: v / count for k, v in sums.items()}
            rows.writerow([step + 1] + ["%.4f" % v for v in values.values()] + ["%.1f" % speed])
            log.flush()
            print("step %d of %d: %s, %.0f pictures/s, %.0f min left" %
                  (step + 1, a.steps, ", ".join("%s %.3f" % i for i in values.items()), speed,
                   (a.steps - step - 1) * a.batch / speed / 60), flush=True)
            sums, count = {}, 0
        if (step + 1) % 1000 == 0:
            save(os.path.join(a.run, "checkpoint.pt"), state(step + 1))
    save(os.path.join(a.run, "checkpoint.pt"), state(step))
    if step < a.steps:
        sys.exit("pretrain: stopped at step %d of %d; the same command goes on" % (step, a.steps))
    write_safetensors(os.path.join(a.run, "builtin.safetensors"), network.trunk.cpu().state_dict(),
                      {"name": "builtin", "version": a.version, "architecture": "resnet18", "license": "MIT",
                       "data": "procedural surfaces, %d programs" % a.programs, "objective": json.dumps(a.objective),
                       "steps": str(a.steps)})


if __name__ == "__main__":
    main()
