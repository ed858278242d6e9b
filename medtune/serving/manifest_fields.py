"""Validation of the fields of bundle.json, because another program or a person may have written the file."""

import re
from typing import Any

from medtune.serving import intensity, members
from medtune.serving.field_error import FieldError, one_of, show_json, wrong_field
from medtune.serving.slides import aggregate
from medtune.serving.slides.tile_settings import TileSettings

RESIZE_MODES = ("squash", "pad", "crop")
# Required keys of every bundle, and those of bundles for images, with a description of the value.
REQUIRED = {
    "task": 'a mapping with the key "kind"',
    "input": 'a mapping with the key "name"',
    "output": 'a mapping with the key "name"',
    "precisions": 'a mapping with at least the key "fp32"',
    "files": "a mapping from file names to their SHA-256",
}
REQUIRED_FOR_IMAGES = {"preprocessing": 'a mapping with the keys "image_size" and "resize"'}
TEXTS = ("task.kind", "input.name", "output.name")
# Key that only bundles for volumes have.
VOLUMES = "volumes"


def validate_manifest(document: dict[str, Any]) -> str | None:
    """Return a message about the first invalid field, or None if all fields are valid."""
    sections = ("task", "input", "output") if VOLUMES in document else ("task", "input", "output", "preprocessing")
    for key in sections:
        if not isinstance(value := document.get(key), dict):
            return wrong_field(key, value, (REQUIRED | REQUIRED_FOR_IMAGES)[key])
    for path in TEXTS:
        if not isinstance(value := _lookup(document, path), str):
            return wrong_field(path, value, "a string")
    if VOLUMES not in document and (error := _check_images(document)):
        return error
    requires = document.get("requires", {})
    minimum = requires.get("onnxruntime", "0.0") if isinstance(requires, dict) else None
    if not (isinstance(minimum, str) and re.fullmatch(r"\d+\.\d+", minimum)):
        return wrong_field("requires", requires, 'a mapping such as {"onnxruntime": "1.24"}')
    return _check_files(document["files"], document["precisions"])


def _check_images(document: dict[str, Any]) -> str | None:
    size = _lookup(document, "preprocessing.image_size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        return wrong_field("preprocessing.image_size", size, "a number of pixels, 1 or more")
    if (fit := _lookup(document, "preprocessing.resize")) not in RESIZE_MODES:
        return wrong_field("preprocessing.resize", fit, one_of(RESIZE_MODES))
    return intensity.validate(_lookup(document, "preprocessing.intensity")) or _check_tiles(document, size)


def _lookup(document: dict[str, Any], path: str) -> Any:
    """Return the value of a dotted key, or None."""
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _check_tiles(document: dict[str, Any], size: int) -> str | None:
    if "tiles" not in document and "aggregation" not in document:
        return None
    if (kind := document.get("aggregation")) not in aggregate.KINDS:
        return wrong_field("aggregation", kind, one_of(aggregate.KINDS))
    if kind == aggregate.ATTENTION and _lookup(document, "task.kind") != "classification":
        task = show_json(_lookup(document, "task.kind"))
        return f'key "aggregation" is {show_json(kind)}, which requires "classification", but key "task.kind" is {task}'
    try:
        tiles = TileSettings.from_document(document.get("tiles"))
    except FieldError as error:
        return str(error)
    if tiles.pixels != size:
        return (
            f'key "tiles.pixels" is {tiles.pixels}, but key "preprocessing.image_size" is {size}: expected equal sizes'
        )
    return members.check_temperature(document)


def _check_files(files: Any, precisions: Any) -> str | None:
    if not isinstance(files, dict):
        return wrong_field("files", files, REQUIRED["files"])
    for name, sha256 in files.items():
        if not isinstance(sha256, str):
            return wrong_field(f"files.{name}", sha256, "the SHA-256 of the file as a string")
    if not isinstance(precisions, dict) or not precisions:
        return wrong_field("precisions", precisions, REQUIRED["precisions"])
    for name, entry in precisions.items():
        if not isinstance(entry, dict):
            return wrong_field(f"precisions.{name}", entry, 'a mapping with the key "shipped"')
        if not isinstance(entry.get("shipped"), bool):
            return wrong_field(f"precisions.{name}.shipped", entry.get("shipped"), "true or false")
        if entry["shipped"] and not (isinstance(entry.get("file"), str) and entry["file"] in files):
            return wrong_field(f"precisions.{name}.file", entry.get("file"), 'a file that key "files" lists')
        external = entry.get("external_data", [])
        if not isinstance(external, list) or not all(isinstance(file, str) and file in files for file in external):
            return wrong_field(f"precisions.{name}.external_data", external, 'a list of files that key "files" lists')
    return None
