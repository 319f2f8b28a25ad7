"""The terms of the training loss. Each is a module over the two features of a trunk with its own small head, which is
thrown away afterwards."""
import torch
import torch.nn.functional as F
from torch import nn


def mixed_loss(logits, label, other, share):
    """Cross-entropy against (1 - share) of one class and share of another; logits (m, classes), the rest (m)."""
    logp = torch.log_softmax(logits.float(), 1)
    first, second = (logp.gather(1, l[:, None])[:, 0] for l in (label, other))
    return -((1 - share) * first + share * second).mean()


class Program(nn.Module):
    """Which program is this picture of (`whole`), and every place of it (`local`): one linear layer on each feature,
    over its mean and over single places of it."""

    places = 8  # of each picture and feature, drawn anew every step

    def __init__(self, channels, programs):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(c, programs) for c in channels)

    def forward(self, features, label, other, share, draw):
        whole = local = 0
        for f, head in zip(features, self.heads):
            n, c, h, w = f.shape
            part = F.adaptive_avg_pool2d(share, (h, w)).flatten(1)
            whole = whole + mixed_loss(head(f.mean((2, 3))), label, label[other], part.mean(1))
            at = torch.rand(n, h * w, generator=draw).argsort(1)[:, :self.places]
            places = f.flatten(2).gather(2, at[:, None].expand(-1, c, -1)).transpose(1, 2).reshape(-1, c)
            repeat = lambda t: t[:, None].expand(-1, self.places).reshape(-1)
            local = local + mixed_loss(head(places), repeat(label), repeat(label[other]), part.gather(1, at).reshape(-1))
        return whole, local


class Instance(nn.Module):
    """Pictures come in pairs of one program: find the partner among the batch (InfoNCE, temperature 0.1)."""

    def __init__(self, channels):
        super().__init__()
        self.project = nn.Sequential(nn.Linear(sum(channels), 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 128))

    def forward(self, features):
        z = F.normalize(self.project(torch.cat([f.mean((2, 3)) for f in features], 1)).float(), dim=1)
        logits = z @ z.t() / 0.1
        logits.fill_diagonal_(-1e4)
        return F.cross_entropy(logits, torch.arange(len(z)) ^ 1)


class Masked(nn.Module):
    """Squares of 16x16 are grey: paint them from what is around (layer3), each relative to the picture's contrast."""

    def __init__(self, channels):
        super().__init__()
        self.paint = nn.Sequential(nn.Conv2d(channels[1], 256, 3, 1, 1), nn.ReLU(), nn.Conv2d(256, 16 * 16 * 3, 1))

    @staticmethod
    def hide(x, draw):
        hidden = (torch.rand(len(x), 1, x.shape[2] // 16, x.shape[3] // 16, generator=draw) < 0.4).float()
        return x * (1 - F.interpolate(hidden, scale_factor=16.0)), hidden

    def forward(self, features, x, hidden):
        x = (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 1e-3)
        wanted = F.pixel_unshuffle(x, 16)
        error = (self.paint(features[1]).float() - wanted).square().mean(1, keepdim=True)
        return (error * hidden).sum() / hidden.sum().clamp(min=1)
