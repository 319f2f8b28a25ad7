"""The ResNet18 trunk that blemish reads (conv1 to layer3, torchvision's names) and its weights as files."""
import json
import struct

import numpy as np
import torch
from torch import nn

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


class Block(nn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Trunk(nn.Module):
    """(n, 3, h, w), ImageNet's mean and deviation taken off -> layer2 (n, 128, h/8, w/8), layer3 (n, 256, h/16, w/16)."""

    channels = (128, 256)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
        self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
        self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        f2 = self.layer2(self.layer1(self.maxpool(torch.relu(self.bn1(self.conv1(x))))))
        return f2, self.layer3(f2)


def normalised(rgb):
    """(n, h, w, 3) uint8 -> what a trunk takes."""
    return torch.from_numpy(rgb).permute(0, 3, 1, 2).float().mul_(1 / (255 * STD)).sub_(MEAN / STD)


def load(path):
    """A trunk with the weights of a .pth or .safetensors file."""
    if path.endswith(".pth"):
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    else:
        tensors = read_safetensors(path)
    trunk = Trunk()
    missing, _ = trunk.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False)
    missing = [k for k in missing if not k.endswith("num_batches_tracked")]
    if missing:
        raise ValueError("%s: %s: found nothing, expected a tensor" % (path, missing[0]))
    return trunk.eval()


def read_safetensors(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    kinds = {"F32": np.float32, "F16": np.float16}
    return {name: torch.from_numpy(np.frombuffer(data[t["data_offsets"][0]:t["data_offsets"][1]], kinds[t["dtype"]])
                                   .reshape(t["shape"]).copy())
            for name, t in header.items() if name != "__metadata__"}


def write_safetensors(path, state, metadata):
    """state: a trunk's state_dict. Convolutions are written as fp16, in which a number beyond its range is an error, not
    clipped; BatchNorm's tensors, whose range is wide and which are small, as fp32."""
    header, data, at = {"__metadata__": metadata}, [], 0
    for name, tensor in sorted(state.items()):
        if name.endswith("num_batches_tracked"):
            continue
        values = tensor.detach().float().numpy()
        if values.ndim > 1:
            with np.errstate(over="ignore"):
                values = values.astype(np.float16)
        if not np.isfinite(values).all():
            raise ValueError("%s: found a value beyond fp16" % name)
        kind = "F16" if values.dtype == np.float16 else "F32"
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [at, at + values.nbytes]}
        data.append(values.tobytes())
        at += values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))
