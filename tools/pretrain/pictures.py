"""What one training step sees: surfaces, and pieces of other surfaces laid into them. Everything is a function of the
step's number, so that a run goes on exactly where it stopped."""
import numpy as np
import torch
import torch.nn.functional as F

from surfaces import Surfaces
from trunk import normalised


def generator(step, purpose):
    return np.random.Generator(np.random.Philox(key=[step, purpose]))


class Pictures:
    """Batches of `count` pictures of `programs` materials, `repeats` samples of each material in a batch."""

    def __init__(self, count, size, programs, repeats, families, seed, threads):
        self.count, self.size, self.programs, self.repeats = count, size, programs, repeats
        self.surfaces = Surfaces(size=size, seed=seed, families=families, threads=threads)

    def draw(self, step):
        r = generator(step, 0)
        programs = np.repeat(r.integers(0, self.programs, self.count // self.repeats), self.repeats)
        return programs, r.integers(0, 1 << 40, self.count)

    def batches(self, first):
        for step, (programs, _), rgb in self.surfaces.stream(self.draw, first):
            yield step, torch.from_numpy(programs.astype(np.int64)), recolour(normalised(rgb), generator(step, 1))


def uniform(r, low, high, n):
    """(n, 1, 1, 1)"""
    return torch.from_numpy(r.uniform(low, high, (n, 1, 1, 1)).astype(np.float32))


def statistics(x):
    """Mean and deviation of every channel, from a sixteenth of the pixels."""
    x = x[:, :, 1::4, 1::4]
    return x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True) + 1e-3


def recolour(x, r):
    """A third of the pictures lose their colour; all change in contrast, besides what samples differ by already."""
    n = len(x)
    grey = (uniform(r, 0, 1, n) < 1 / 3).view(n)
    x[grey] = x[grey].mean(1, keepdim=True)
    mean, gain = statistics(x)[0], torch.exp(uniform(r, -0.7, 0.4, n))
    return x.mul_(gain).add_(mean * (1 - gain) + uniform(r, -0.4, 0.4, n))


def blobs(n, size, r):
    """(n, 1, size, size) masks of 0 and 1: one in six is empty, two thirds cover 0.3 to 10 % of the picture, one in six up
    to half of it. Shapes are where smooth noise is large, or where it is near zero: blobs and lines, long or round."""
    rows, columns = r.integers(2, 14, 2)
    noise = torch.from_numpy(r.standard_normal((n, 1, rows, columns)).astype(np.float32))
    noise = F.interpolate(noise, (size, size), mode="bicubic", align_corners=True)
    kind = r.uniform(0, 1, n)
    line = torch.from_numpy((kind < 0.5) & (r.uniform(0, 1, n) < 0.5))
    noise[line] = -noise[line].abs()
    share = np.where(kind < 2 / 3, np.exp(r.uniform(np.log(0.003), np.log(0.1), n)),
                     np.where(kind < 5 / 6, r.uniform(0.1, 0.5, n), 0))
    order = noise[:, 0, 1::2, 1::2].flatten(1).sort(1, descending=True).values
    level = order.gather(1, torch.from_numpy((share * order.shape[1]).astype(np.int64))[:, None])
    return (noise > level[:, :, None, None]).float() * torch.from_numpy(share > 0)[:, None, None, None]


def displaced(x, r):
    """Every place is read from up to an eighth of the picture away, smoothly."""
    n, size = len(x), x.shape[-1]
    shift = torch.from_numpy(r.uniform(-0.25, 0.25, (n, 2, 5, 5)).astype(np.float32))
    shift = F.interpolate(shift, (size, size), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    at = torch.linspace(-1, 1, size)
    grid = torch.stack(torch.meshgrid(at, at, indexing="xy"), 2) + shift
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=True)


def altered(x, r):
    """The same surfaces as no sample of them looks: turned, enlarged, blurred or displaced, one in four each."""
    quarter = x.shape[-1] // 4
    middle = x[:, :, quarter:-quarter, quarter:-quarter]
    enlarged = F.interpolate(middle, x.shape[2:], mode="bilinear", align_corners=False)
    kinds = torch.stack([x.transpose(2, 3).flip(3), enlarged, F.avg_pool2d(x, 5, 1, 2, count_include_pad=False),
                         displaced(x, r)])
    return kinds[torch.from_numpy(r.integers(0, 4, len(x))), torch.arange(len(x))]


def lay_pieces(x, step, repeats, own):
    """Lays pieces of other programs' pictures into the second half of every program's, sometimes of the same mean and
    contrast or translucent; a part `own` of the pieces is from the same picture, altered. Returns the pictures, which
    picture each piece is from, and how much of every pixel is the piece's (n, 1, h, w)."""
    r = generator(step, 2)
    n = len(x)
    other = torch.from_numpy((np.arange(n) + r.integers(repeats, n - repeats + 1, n)) % n)
    pieces = x[other]
    if own:
        same = torch.from_numpy(generator(step, 3).uniform(0, 1, n) < own)
        other[same] = torch.arange(n)[same]
        pieces[same] = altered(x, generator(step, 4))[same]
    (mean, deviation), (piece_mean, piece_deviation) = statistics(x), statistics(pieces)
    adapt = uniform(r, 0, 1, n) < 0.5
    gain = torch.where(adapt, deviation / piece_deviation, torch.ones(()))
    offset = torch.where(adapt, mean - gain * piece_mean, torch.zeros(()))
    share = blobs(n, x.shape[-1], r) * uniform(r, 0.4, 1.6, n).clamp(max=1)
    if repeats > 1:
        share *= (torch.arange(n) % repeats >= repeats // 2)[:, None, None, None]
    return torch.lerp(x, torch.addcmul(offset, gain, pieces), share), other, share
