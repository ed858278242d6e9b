"""Validation of the fields of bundle.json, which may be written by another program or by hand."""

import re
from typing import Any

from medtune.serving import intensity, members
from medtune.serving.slides import aggregate
from medtune.serving.slides.tile_settings import TileSettings

RESIZE_MODES = ("squash", "pad", "crop")
TEXTS = ("task.kind", "input.name", "output.name")
# Entry of bundles for volumes. They do not have the fields of images.
VOLUMES = "volumes"


def validate_manifest(document: dict[str, Any]) -> str | None:
    """Return the first invalid field with its value and the expected value, or None if all fields are valid."""
    for path in TEXTS:
        if not isinstance(value := _lookup(document, path), str):
            return f"{path} is {value!r}: expected a text"
    if VOLUMES not in document and (error := _check_images(document)):
        return error
    requires = document.get("requires", {})
    minimum = requires.get("onnxruntime", "0.0") if isinstance(requires, dict) else None
    if not (isinstance(minimum, str) and re.fullmatch(r"\d+\.\d+", minimum)):
        return f"requires is {requires!r}: expected a mapping such as {{'onnxruntime': '1.24'}}"
    return _check_files(document["files"], document["precisions"])


def _check_images(document: dict[str, Any]) -> str | None:
    size = _lookup(document, "preprocessing.image_size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        return f"preprocessing.image_size is {size!r}: expected a number of pixels"
    if (fit := _lookup(document, "preprocessing.resize")) not in RESIZE_MODES:
        return f"preprocessing.resize is {fit!r}: expected one of {', '.join(map(repr, RESIZE_MODES))}"
    return intensity.validate(_lookup(document, "preprocessing.intensity")) or _check_tiles(document, size)


def _lookup(document: dict[str, Any], path: str) -> Any:
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _check_tiles(document: dict[str, Any], size: int) -> str | None:
    if "tiles" not in document and "aggregation" not in document:
        return None
    if (kind := document.get("aggregation")) not in aggregate.KINDS:
        return f"aggregation is {kind!r}: expected one of {', '.join(map(repr, aggregate.KINDS))}"
    if kind == aggregate.ATTENTION and _lookup(document, "task.kind") != "classification":
        return f"aggregation is {kind!r}, which requires task.kind 'classification'"
    try:
        tiles = TileSettings.from_document(document.get("tiles"))
    except ValueError as error:
        return str(error)
    if tiles.pixels != size:
        return f"tiles.pixels is {tiles.pixels}: expected {size}, the value of preprocessing.image_size"
    return members.check_temperature(document)


def _check_files(files: Any, precisions: Any) -> str | None:
    if not isinstance(files, dict) or not all(isinstance(sha256, str) for sha256 in files.values()):
        return f"files is {files!r}: expected a mapping from file names to their SHA-256"
    if not isinstance(precisions, dict) or not precisions:
        return f"precisions is {precisions!r}: expected a mapping with at least the key 'fp32'"
    for name, entry in precisions.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("shipped"), bool):
            return f"precisions.{name} is {entry!r}: expected a mapping whose key 'shipped' is true or false"
        if entry["shipped"] and not (isinstance(entry.get("file"), str) and entry["file"] in files):
            return f"precisions.{name}.file is {entry.get('file')!r}: expected a name that is listed in files"
        external = entry.get("external_data", [])
        if not isinstance(external, list) or not all(isinstance(file, str) and file in files for file in external):
            return f"precisions.{name}.external_data is {external!r}: expected names that are listed in files"
    return None
