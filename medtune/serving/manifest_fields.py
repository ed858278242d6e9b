"""What must stand in bundle.json, field by field: an intact file may still be another program's, or made by hand."""

import re
from typing import Any

from medtune.serving import intensity, members
from medtune.serving.slides import aggregate
from medtune.serving.slides.tiling import TileSettings

RESIZE_MODES = ("squash", "pad", "crop")
TEXTS = ("task.kind", "input.name", "output.name")


def validate_manifest(document: dict[str, Any]) -> str | None:
    """The first field that is not as it must be, with its value and what would be right; None where all are."""
    for path in TEXTS:
        if not isinstance(value := _lookup(document, path), str):
            return f"{path} is {value!r}: expected a text"
    size = _lookup(document, "preprocessing.image_size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        return f"preprocessing.image_size is {size!r}: expected a number of pixels"
    if (fit := _lookup(document, "preprocessing.resize")) not in RESIZE_MODES:
        return f"preprocessing.resize is {fit!r}: expected one of {', '.join(RESIZE_MODES)}"
    if wrong := intensity.fault(_lookup(document, "preprocessing.intensity")):
        return wrong
    if wrong := _check_tiles(document, size):
        return wrong
    requires = document.get("requires", {})
    needed = requires.get("onnxruntime", "0.0") if isinstance(requires, dict) else None
    if not (isinstance(needed, str) and re.fullmatch(r"\d+\.\d+", needed)):
        return f"requires is {requires!r}: expected onnxruntime: MAJOR.MINOR"
    return _check_files(document["files"], document["precisions"])


def _lookup(document: dict[str, Any], path: str) -> Any:
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _check_tiles(document: dict[str, Any], size: int) -> str | None:
    if "tiles" not in document and "aggregation" not in document:
        return None
    if (kind := document.get("aggregation")) not in aggregate.KINDS:
        return f"aggregation is {kind!r}: expected one of {', '.join(aggregate.KINDS)}"
    if kind == aggregate.ATTENTION and _lookup(document, "task.kind") != "classification":
        return f"aggregation is {kind!r}: expected task.kind classification"
    try:
        tiles = TileSettings.from_document(document.get("tiles"))
    except ValueError as error:
        return str(error)
    if tiles.pixels != size:
        return f"tiles.pixels is {tiles.pixels}: expected preprocessing.image_size, {size}"
    return members.check_temperature(document)


def _check_files(files: Any, precisions: Any) -> str | None:
    if not isinstance(files, dict) or not all(isinstance(one, str) for one in files.values()):
        return f"files is {files!r}: expected names with their sha256"
    if not isinstance(precisions, dict) or not precisions:
        return f"precisions is {precisions!r}: expected fp32 and the like"
    for name, entry in precisions.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("shipped"), bool):
            return f"precisions.{name} is {entry!r}: expected shipped: true or false"
        if entry["shipped"] and not (isinstance(entry.get("file"), str) and entry["file"] in files):
            return f"precisions.{name}.file is {entry.get('file')!r}: expected one of files"
        external = entry.get("external_data", [])
        if not isinstance(external, list) or not all(isinstance(one, str) and one in files for one in external):
            return f"precisions.{name}.external_data is {external!r}: expected names of files"
    return None
