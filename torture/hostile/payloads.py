"""Pickles that make a file when they are unpickled, in every way that a pickle can call something."""

import contextlib
import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PROTOCOLS = (0, 1, 2, 3, 4, 5)
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


class _Calls:
    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def payloads(canary: Path) -> dict[str, bytes]:
    """Pickles by name; each makes `canary` where it is loaded."""
    code = f"__import__('os').makedirs({str(canary)!r}, exist_ok=True)"
    text = b"X" + len(code).to_bytes(4, "little") + code.encode()
    calls = {
        "os.system": _Calls(os.system, f"mkdir -p {canary}"),
        "os.mkdir": _Calls(os.mkdir, str(canary)),
        "eval": _Calls(eval, code),
        "exec": _Calls(exec, code),
    }
    made = {
        f"{name} {p}": pickle.dumps(call, p) for name, call in calls.items() for p in PROTOCOLS[:: 2 - (name == "eval")]
    }
    made["among tensors"] = pickle.dumps({"weight": [1.0], "bias": calls["eval"]}, 2)
    made["inst opcode"] = b"(" + text + b"ibuiltins\neval\n."
    made["obj opcode"] = b"(cbuiltins\neval\n" + text + b"o."
    state = b"X\x0c\0\0\0__setstate__"
    made["build opcode"] = b"\x80\x02cbuiltins\nException\n)R}" + state + b"cbuiltins\neval\nsb" + text + b"b."
    return made


def live(payload: bytes, canary: Path) -> bool:
    """Whether plain unpickling makes `canary`; it is taken away again."""
    with contextlib.suppress(Exception):
        pickle.loads(payload)
    made = canary.exists()
    if made:
        canary.rmdir()
    return made


def plain(payload: bytes) -> bytes:
    """The pickle as it is."""
    return payload


def torch_zip(payload: bytes) -> bytes:
    """As torch.save has written since 1.6."""
    return _zipped({"archive/data.pkl": payload, "archive/byteorder": b"little", "archive/version": b"3\n"})


def torch_script(payload: bytes) -> bytes:
    """As torch.jit.save writes, which torch.load hands on."""
    return _zipped({"a/data.pkl": payload, "a/constants.pkl": payload, "a/code/m.py": b"", "a/version": b"3\n"})


def torch_legacy(payload: bytes) -> bytes:
    """As torch.save wrote before: several pickles one behind the other."""
    facts = {"protocol_version": _VERSION, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"".join(pickle.dumps(one, 2) for one in (_MAGIC, _VERSION, facts))
    return head + payload + pickle.dumps([], 2)


def torch_legacy_head(payload: bytes) -> bytes:
    """The same, with the payload where the facts of the machine stand."""
    return pickle.dumps(_MAGIC, 2) + pickle.dumps(_VERSION, 2) + payload + pickle.dumps({}, 2)


def torch_tar(payload: bytes) -> bytes:
    """As torch.save wrote first of all."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as bundle:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            entry = tarfile.TarInfo(name)
            entry.size = len(payload)
            bundle.addfile(entry, io.BytesIO(payload))
    return out.getvalue()


def npy(payload: bytes, shape: tuple[int, ...] = (1,)) -> bytes:
    """An array of objects."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|O", "fortran_order": False, "shape": shape})
    return out.getvalue() + payload


def npz(payload: bytes) -> bytes:
    """Arrays of objects under all the names that anybody here asks for."""
    names = ("train_images", "train_labels", "key", "val", "test", "images", "labels")
    return _zipped({f"{name}.npy": npy(payload) for name in names})


def _zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return out.getvalue()


FORMS = (plain, torch_zip, torch_script, torch_legacy, torch_legacy_head, torch_tar, npy, npz)
