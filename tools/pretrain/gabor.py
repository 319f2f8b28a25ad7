"""Hand-made features as a backbone file: a bank of Gabor filters, their energies smoothed and differenced, in the tensors
of a ResNet18 trunk, so that the same heads can be trained on them (docs/backbone.md compares).

usage: gabor.py FILE.safetensors
conv1: 6 directions x 2 wavelengths x (even, odd) x (+, -), centre-surround and colour filters; layer2: those smoothed and
their differences along x; layer3: the same of layer2, along y. Branches that are not used have a BatchNorm of zero over
random weights: training may start from the file (pretrain.py --start).
"""
import sys

import numpy as np
import torch

from surfaces import Surfaces
from trunk import Trunk, normalised, write_safetensors

COLOURS = {"light": (1, 1, 1), "red": (1, -1, 0), "blue": (-0.5, -0.5, 1)}


def bank():
    """(64, 3, 7, 7), unit norm."""
    y, x = np.mgrid[-3:4, -3:4].astype(float)
    gauss = lambda s: np.exp(-(x * x + y * y) / (2 * s * s)) / np.exp(-(x * x + y * y) / (2 * s * s)).sum()
    filters = []

    def add(plane, colour):
        for sign in (1, -1):
            f = sign * np.multiply.outer(COLOURS[colour], plane)
            filters.append(f / np.sqrt((f * f).sum()))

    for wavelength in (3.0, 6.0):
        for k in range(6):
            along = x * np.cos(k * np.pi / 6) + y * np.sin(k * np.pi / 6)
            for phase in (0, np.pi / 2):
                plane = gauss(0.4 * wavelength) * np.cos(2 * np.pi * along / wavelength + phase)
                add(plane - gauss(0.4 * wavelength) * plane.sum(), "light")
    for narrow, wide in ((0.7, 1.4), (1.2, 2.4)):
        add(gauss(narrow) - gauss(wide), "light")
    for colour in COLOURS:
        add(gauss(2.0), colour)
    for colour in ("red", "blue"):
        add(gauss(0.8) - gauss(2.0), colour)
    filters.extend([np.multiply.outer(COLOURS["light"], gauss(4.0)), np.multiply.outer(COLOURS["light"], -gauss(4.0))])
    return torch.tensor(np.array(filters), dtype=torch.float32)


def stage(layer, axis):
    """Fills a stage: the first half of its channels smooth the input, the others are its differences along an axis."""
    block = layer[0]
    block.conv1.weight.zero_()
    block.conv2.weight.zero_()
    block.downsample[1].weight.zero_()
    inside = block.conv1.weight.shape[1]
    smooth = torch.tensor([[1., 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    difference = torch.tensor([[-1., 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    for c in range(inside):
        block.conv1.weight[c, c] = smooth
        block.conv1.weight[inside + c, c] = difference if axis == "x" else difference.t()
    for c in range(2 * inside):
        block.conv2.weight[c, c, 1, 1] = 1


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: gabor.py FILE.safetensors")
    torch.manual_seed(0)
    trunk = Trunk().eval()
    with torch.no_grad():
        for block in (*trunk.layer1, trunk.layer2[1], trunk.layer3[1]):
            block.bn2.weight.zero_()
        trunk.conv1.weight.copy_(bank())
        stage(trunk.layer2, "x")
        stage(trunk.layer3, "y")
        # Every filter's answer to the surfaces has the same root mean square.
        rgb = Surfaces(size=128, seed=7).paint(np.arange(410), np.arange(410))
        answer = torch.relu(trunk.conv1(normalised(rgb)))
        trunk.bn1.running_var.copy_(answer.square().mean((0, 2, 3)))
    write_safetensors(sys.argv[1], trunk.state_dict(), {"name": "gabor", "architecture": "resnet18"})


if __name__ == "__main__":
    main()
