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
        for head in self.heads:
            nn.init.zeros_(head.weight)

    def forward(self, features, label, other, share, draw):
        whole = local = 0
        for f, head in zip(features, self.heads):
            n, c, h, w = f.shape
            part = F.adaptive_avg_pool2d(share, (h, w)).flatten(1)
            whole = whole + mixed_loss(head(f.mean((2, 3))), label, label[other], part.mean(1))
            at = torch.rand(n, h * w, generator=draw).argsort(1)[:, :self.places]
            places = f.flatten(2).gather(2, at[:, None].expand(-1, c, -1)).transpose(1, 2).reshape(-1, c)
            repeat = lambda t: t[:, None].expand(-1, at.shape[1]).reshape(-1)
            local = local + mixed_loss(head(places), repeat(label), repeat(label[other]), part.gather(1, at).reshape(-1))
        return whole, local


class Instance(nn.Module):
    """Pictures come in pairs of one program: find the partner among the batch's other programs (InfoNCE, temperature
    0.1)."""

    def __init__(self, channels):
        super().__init__()
        self.project = nn.Sequential(nn.Linear(sum(channels), 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 128))

    def forward(self, features, label):
        z = F.normalize(self.project(torch.cat([f.mean((2, 3)) for f in features], 1)).float(), dim=1)
        logits = z @ z.t() / 0.1
        partner = torch.arange(len(z), device=z.device) ^ 1
        same = label[:, None] == label
        same[torch.arange(len(z)), partner] = False
        return F.cross_entropy(logits.masked_fill(same, -1e4), partner)


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


class Nearest(nn.Module):
    """Half of a program's pictures are good, the others have pieces of other surfaces in them. Of all places of these, the
    pieces' shall be farthest from the nearest place of the good ones: for every place of a piece, the cross-entropy of
    choosing it among all places without one, by distance to the power of `sharpness`. Both features, averaged over 3x3 as
    the heads do. Nothing to learn but the trunk."""

    sharpness = 8

    @staticmethod
    def distances(places, support):
        """(g, n), squared, of (g, n, c) to the nearest of (g, m, c)."""
        squares = lambda t: t.square().sum(2)
        products = places.bfloat16() @ support.bfloat16().transpose(1, 2)
        nearest = (squares(support)[:, None] - 2 * products.float()).min(2).indices
        chosen = support.gather(1, nearest[:, :, None].expand(-1, -1, support.shape[2]))
        return squares(places - chosen)

    def forward(self, features, share, repeats):
        loss = 0
        for f in features:
            f = F.avg_pool2d(f, 3, 1, 1).float()
            n, c, h, w = f.shape
            groups = f.flatten(2).transpose(1, 2).reshape(n // repeats, repeats, h * w, c)
            support, places = (groups[:, half].flatten(1, 2) for half in (slice(0, repeats // 2), slice(repeats // 2, repeats)))
            part = F.adaptive_avg_pool2d(share, (h, w))
            near = F.max_pool2d(part, 3, 1, 1)
            part, near = (t.view(n // repeats, repeats, h * w)[:, repeats // 2:].flatten(1, 2) for t in (part, near))
            d = self.distances(places, support)
            logit = 0.5 * self.sharpness * torch.log(d + 1e-3 * d.detach().mean() + 1e-12)
            good = logit.masked_fill(near > 0.01, -1e4).logsumexp(1, keepdim=True)
            wrong = F.softplus(good - logit) * (part > 0.2)
            loss = loss + (wrong.sum(1) / (part > 0.2).sum(1).clamp(min=1)).mean()
        return loss
