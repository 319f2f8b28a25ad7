"""The graph as published, in PyTorch, for the peers: with the test values (the reference program's own export) or with
the weights of a model file. As a program it exports to ONNX:

  graph.py OUT.onnx --reference DIR --backbone NAME --size N --batch N [--model FILE]
"""
import argparse
import json
import struct
import sys


def read_model(path):
    """A model file (docs/model-file.md) as its metadata and a dictionary of arrays."""
    import numpy as np
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        start, tensors = f.tell(), {}
        for name, t in header.items():
            if name == "__metadata__": continue
            if t["dtype"] != "F32": sys.exit("%s: %s: found %s, expected F32: the peers need the fp32 model"
                                             % (path, name, t["dtype"]))
            f.seek(start + t["data_offsets"][0])
            tensors[name] = np.fromfile(f, np.float32, (t["data_offsets"][1] - t["data_offsets"][0]) // 4).reshape(
                t["shape"])
    return header["__metadata__"], tensors


def build(reference, backbone, size, model=None):
    """The network, image (B, 3, H, W) to map (B, 1, H, W) and score (B)."""
    import torch
    sys.path.insert(0, reference)
    import ssn_reference
    whole = ssn_reference.Whole(argparse.Namespace(backbone=backbone, weights=None, size=size, icpr=False))
    if not model: return whole
    meta, tensors = read_model(model)
    for field, wanted in (("backbone", backbone), ("height", str(size)), ("width", str(size)), ("variant", "jims"),
                          ("align_corners", "true"), ("hidden", "1024")):
        if meta[field] != wanted: sys.exit("%s: %s: found %s, expected %s" % (model, field, meta[field], wanted))
    for field in "upscale", "classification":
        if meta.get(field, "true") != "true": sys.exit("%s: %s: found false, expected true" % (model, field))
    scale = float(meta["feature_scale"])
    state = whole.bb.net.state_dict()
    for name in [n[9:-7] for n in tensors if n.startswith("backbone.") and n.endswith(".weight")]:
        norm = name[:-1] + "1" if name.endswith("downsample.0") else name[::-1].replace("vnoc", "nb", 1)[::-1]
        # The file has BatchNorm folded in; what is left of it here adds the bias and nothing else.
        state[name + ".weight"] = torch.from_numpy(tensors["backbone.%s.weight" % name])
        state[norm + ".bias"] = torch.from_numpy(tensors["backbone.%s.bias" % name])
        state[norm + ".weight"] = torch.ones_like(state[norm + ".bias"])
        state[norm + ".running_mean"] = torch.zeros_like(state[norm + ".bias"])
        state[norm + ".running_var"] = torch.full_like(state[norm + ".bias"], 1 - 1e-5)
    whole.bb.net.load_state_dict(state)
    heads = {n[6:]: torch.from_numpy(t) for n, t in tensors.items() if n.startswith("heads.")}
    # Features are divided by the scale: their weights are, the map's channel (the last of cls.conv) is not.
    heads["adaptor.weight"] = heads["adaptor.weight"] / scale
    heads["cls.conv.weight"] = torch.cat([heads["cls.conv.weight"][:, :-1] / scale, heads["cls.conv.weight"][:, -1:]], 1)
    missing = whole.heads.load_state_dict(heads, strict=False)
    if missing.unexpected_keys or [k for k in missing.missing_keys if "num_batches" not in k]:
        sys.exit("%s: heads: found other tensors than the reference's: %s" % (model, missing))
    return whole.eval()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("out")
    p.add_argument("--reference", required=True)
    p.add_argument("--backbone", required=True)
    p.add_argument("--size", type=int, required=True)
    p.add_argument("--batch", type=int, required=True)
    p.add_argument("--model")
    a = p.parse_args()
    import torch
    net, image = build(a.reference, a.backbone, a.size, a.model), torch.zeros(a.batch, 3, a.size, a.size)
    export = lambda **kw: torch.onnx.export(net, image, a.out, opset_version=16, input_names=["image"],
                                            output_names=["map", "score"], **kw)
    try: export(dynamo=False)  # newer PyTorch: the tracing exporter, which needs no extra package
    except TypeError: export()


if __name__ == "__main__": main()
