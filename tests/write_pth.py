"""Writes PyTorch files with Python's own pickle, the way torch.save does, without needing torch.

usage: write_pth.py FOLDER
"""
import collections
import io
import pickle
import struct
import sys
import types
import zipfile

torch = types.ModuleType("torch")
utils = types.ModuleType("torch._utils")
sys.modules["torch"], sys.modules["torch._utils"] = torch, utils


def stand_in(module, name):
    def function(*arguments):
        raise RuntimeError("nothing here is ever called")

    function.__module__, function.__name__, function.__qualname__ = module.__name__, name, name
    setattr(module, name, function)
    return function


rebuild_tensor = stand_in(utils, "_rebuild_tensor_v2")
rebuild_parameter = stand_in(utils, "_rebuild_parameter")
FORMATS = {"FloatStorage": "f", "HalfStorage": "e", "DoubleStorage": "d", "LongStorage": "q", "IntStorage": "i",
           "CharStorage": "b", "ByteStorage": "B"}
TYPES = {}
for type_name in FORMATS:
    TYPES[type_name] = type(type_name, (), {"__module__": "torch"})
    setattr(torch, type_name, TYPES[type_name])


class Storage:
    def __init__(self, type_name, values, key):
        self.type_name, self.count, self.key = type_name, len(values), str(key)
        self.data = struct.pack("<%d%s" % (len(values), FORMATS[type_name]), *values)


class Tensor:
    def __init__(self, storage, size, stride, offset=0):
        self.arguments = (storage, offset, size, stride, False, collections.OrderedDict())

    def __reduce_ex__(self, protocol):
        return rebuild_tensor, self.arguments


class Parameter:
    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce_ex__(self, protocol):
        return rebuild_parameter, (self.tensor, True, collections.OrderedDict())


def dump(value, protocol, storages, legacy):
    def persistent_id(thing):
        if not isinstance(thing, Storage):
            return None
        storages[thing.key] = thing
        identity = ("storage", TYPES[thing.type_name], thing.key, "cpu", thing.count)
        return identity + (None,) if legacy else identity

    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, protocol)
    pickler.persistent_id = persistent_id
    pickler.dump(value)
    return stream.getvalue()


def save_zip(path, value, protocol):
    storages = {}
    data = dump(value, protocol, storages, False)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("some name/data.pkl", data)
        archive.writestr("some name/byteorder", "little")
        for key, storage in storages.items():
            archive.writestr("some name/data/" + key, storage.data)
        archive.writestr("some name/version", "3\n")


def save_legacy(path, value, protocol):
    storages = {}
    with open(path, "wb") as f:
        pickle.dump(0x1950A86A20F9469CFC6C, f, protocol)
        pickle.dump(1001, f, protocol)
        sizes = {"short": 2, "int": 4, "long": 4}
        pickle.dump({"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}, f, protocol)
        f.write(dump(value, protocol, storages, True))
        pickle.dump(sorted(storages), f, protocol)
        for key in sorted(storages):
            f.write(struct.pack("<q", storages[key].count) + storages[key].data)


class Module:
    """Something no state_dict holds."""


def tensors(prefix):
    base = Storage("FloatStorage", [i / 2 for i in range(12)], 0)
    state = collections.OrderedDict()
    state[prefix + "plain"] = Tensor(base, (3, 4), (4, 1))
    state[prefix + "transposed"] = Tensor(base, (4, 3), (1, 4))
    state[prefix + "part"] = Tensor(base, (2, 2), (4, 1), 5)
    state[prefix + "parameter"] = Parameter(Tensor(base, (12,), (1,)))
    state[prefix + "half"] = Tensor(Storage("HalfStorage", [1.5, -0.25], 1), (2,), (1,))
    state[prefix + "double"] = Tensor(Storage("DoubleStorage", [1e-3, 1e3], 2), (2, 1), (1, 1))
    state[prefix + "count"] = Tensor(Storage("LongStorage", [1 << 40], 3), (), ())
    state[prefix + "int"] = Tensor(Storage("IntStorage", [-7], 4), (1,), (1,))
    state[prefix + "char"] = Tensor(Storage("CharStorage", [-128, 127], 5), (2,), (1,))
    state[prefix + "byte"] = Tensor(Storage("ByteStorage", [0, 255], 6), (2,), (1,))
    state._metadata = collections.OrderedDict([("", {"version": 1}), ("bn1", {"version": 2})])
    return state


folder = sys.argv[1]
for protocol in range(2, 6):
    for save, name in ((save_zip, "zip"), (save_legacy, "legacy")):
        checkpoint = {"epoch": 3, "lr": 1e-3, "arch": "resnet18", "best": None, "state_dict": tensors("module."),
                      "optimizer": {"state": {}, "param_groups": [{"betas": (0.9, 0.999), "params": [0, 1]}]}}
        save("%s/%s-%d-plain.pth" % (folder, name, protocol), tensors(""), protocol)
        save("%s/%s-%d-checkpoint.pth" % (folder, name, protocol), checkpoint, protocol)
        save("%s/%s-%d-hostile.pth" % (folder, name, protocol), {"x": Module()}, protocol)
