"""Pickles that create a folder when they are loaded, and the file formats that contain a pickle."""

import io
import os
import pickle
import tarfile
import zipfile

import numpy as np
from torch.serialization import MAGIC_NUMBER, PROTOCOL_VERSION


class Call:
    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


def payloads(canary):
    """Return pickles by name. Each creates the folder `canary` when it is loaded."""
    code = f"__import__('os').makedirs({str(canary)!r}, exist_ok=True)"
    calls = {
        "eval": Call(eval, code),
        "exec": Call(exec, code),
        "os.system": Call(os.system, f"mkdir -p {canary}"),
        "os.mkdir": Call(os.mkdir, str(canary)),
    }
    pickles = {f"{name} {protocol}": pickle.dumps(calls[name], protocol) for name in calls for protocol in range(6)}
    argument = b"X" + len(code).to_bytes(4, "little") + code.encode()
    exception = b"\x80\x02cbuiltins\nException\n)R"
    return pickles | {
        "value of a state_dict": pickle.dumps({"weight": [1.0], "bias": calls["eval"]}, 2),
        "opcode INST": b"(" + argument + b"ibuiltins\neval\n.",
        "opcode OBJ": b"(cbuiltins\neval\n" + argument + b"o.",
        "opcode BUILD": exception + b"}X\x0c\0\0\0__setstate__cbuiltins\neval\nsb" + argument + b"b.",
    }


def plain(payload):
    return payload


def torch_zip(payload):
    """Return a file as torch.save writes it since version 1.6."""
    return _zip({"archive/data.pkl": payload, "archive/byteorder": b"little", "archive/version": b"3\n"})


def torch_script(payload):
    """Return a file as torch.jit.save writes it. torch.load reads it with torch.jit.load."""
    return _zip({"a/data.pkl": payload, "a/constants.pkl": payload, "a/code/m.py": b"", "a/version": b"3\n"})


def torch_legacy(payload):
    """Return a file as torch.save wrote it before version 1.6: consecutive pickles."""
    sizes = {"short": 2, "int": 4, "long": 4}
    system = pickle.dumps({"protocol_version": PROTOCOL_VERSION, "little_endian": True, "type_sizes": sizes}, 2)
    return LEGACY_START + system + payload + pickle.dumps([], 2)


def torch_legacy_system(payload):
    """Return a file of the same format, with the payload instead of the facts about the system."""
    return LEGACY_START + payload + pickle.dumps({}, 2)


def torch_tar(payload):
    """Return a file in the first format of torch.save."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            member = tarfile.TarInfo(name)
            member.size = len(payload)
            archive.addfile(member, io.BytesIO(payload))
    return stream.getvalue()


def npy(payload):
    """Return an array of objects."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    return stream.getvalue() + payload


def npz(payload):
    """Return arrays of objects, with all names that MedTune reads."""
    names = ("train_images", "train_labels", "key", "val", "test", "images", "labels")
    return _zip({f"{name}.npy": npy(payload) for name in names})


def _zip(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


LEGACY_START = pickle.dumps(MAGIC_NUMBER, 2) + pickle.dumps(PROTOCOL_VERSION, 2)
TORCH = (plain, torch_zip, torch_script, torch_legacy)
ARRAYS = (npy, npz, plain)
ALL = (*TORCH, torch_legacy_system, torch_tar, npy, npz)
