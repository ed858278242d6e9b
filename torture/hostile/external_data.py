"""ONNX models whose weights are said to lie elsewhere, at any path; and params files with objects in them."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def models(folder: Path, pickled: bytes) -> Iterator[tuple[str, bytes]]:
    """Models by where they send the reader, in a bundle at `folder`; each of those places holds `pickled`."""
    from torture.hostile.tiny_bundle import red_model

    folder.mkdir(parents=True, exist_ok=True)
    for place in (folder / "weights.bin", folder.parent / "weights.bin"):
        place.write_bytes(pickled.ljust(24, b"\0"))
    link = folder / "link.bin"
    if not link.is_symlink():
        os.symlink(folder.parent / "weights.bin", link)
    absolute = str(folder.parent / "weights.bin")
    for location in (
        "weights.bin",
        "../weights.bin",
        absolute,
        "link.bin",
        "./a/../../weights.bin",
        "/dev/zero",
        "gone",
    ):
        yield location, red_model(location)
        yield f"{location}, in a constant", _in_constant(location)


def _in_constant(location: str) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    tensor = numpy_helper.from_array(np.zeros((3, 2), np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    node = helper.make_node("Constant", [], ["w"], value=tensor)
    branch = helper.make_graph([node], "branch", [], [])
    choice = helper.make_node("If", ["c"], ["o"], then_branch=branch, else_branch=branch)
    return helper.make_model(helper.make_graph([choice], "g", [], [])).SerializeToString()


def params_files(canary: Path) -> Iterator[tuple[str, str]]:
    """params.yaml with YAML's own way to call something, by the tag."""
    for tag in ("apply:os.makedirs", "new:os.makedirs", "apply:os.system"):
        argument = f"mkdir -p {canary}" if "system" in tag else str(canary)
        yield tag, f"seed: !!python/object/{tag} [{argument!r}]\n"
    yield "name", "seed: !!python/name:os.system\n"
    yield "module", "seed: !!python/module:os\n"
