"""What must stand in bundle.json, field by field: an intact file may still be another program's, or made by hand."""

import re
from typing import Any

FITS = ("squash", "pad", "crop")
DECISIONS = ("argmax", "threshold")
TEXTS = ("task.kind", "input.name", "output.name")


def fault(document: dict[str, Any]) -> str | None:
    """The first field that is not as it must be, with its value and what would be right; None where all are."""
    for path in TEXTS:
        if not isinstance(value := _at(document, path), str):
            return f"{path} is {value!r}: expected a text"
    classes = document["classes"]
    if not isinstance(classes, list) or not all(isinstance(one, str) for one in classes) or len(set(classes)) < 2:
        return f"classes is {classes!r}: expected at least two names"
    if len(set(classes)) < len(classes):
        return f"classes is {classes!r}: a name stands there twice"
    size = _at(document, "preprocessing.image_size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        return f"preprocessing.image_size is {size!r}: expected a number of pixels"
    if (fit := _at(document, "preprocessing.resize")) not in FITS:
        return f"preprocessing.resize is {fit!r}: expected one of {', '.join(FITS)}"
    requires = document.get("requires", {})
    needed = requires.get("onnxruntime", "0.0") if isinstance(requires, dict) else None
    if not (isinstance(needed, str) and re.fullmatch(r"\d+\.\d+", needed)):
        return f"requires is {requires!r}: expected onnxruntime: MAJOR.MINOR"
    return _decision(document["decision"], classes) or _files(document["files"], document["precisions"])


def _at(document: dict[str, Any], path: str) -> Any:
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _decision(decision: Any, classes: list[str]) -> str | None:
    if not isinstance(decision, dict) or decision.get("kind") not in DECISIONS:
        return f"decision is {decision!r}: expected a kind, one of {', '.join(DECISIONS)}"
    if decision["kind"] == "argmax":
        return None
    if len(classes) != 2 or decision.get("positive") not in classes:
        return f"decision is {decision!r}: expected two classes and a positive one of them; classes: {classes}"
    threshold = decision.get("threshold")
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    return None if number else f"decision.threshold is {threshold!r}: expected a number"


def _files(files: Any, precisions: Any) -> str | None:
    if not isinstance(files, dict) or not all(isinstance(one, str) for one in files.values()):
        return f"files is {files!r}: expected names with their sha256"
    if not isinstance(precisions, dict) or not precisions:
        return f"precisions is {precisions!r}: expected fp32 and the like"
    for name, entry in precisions.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("shipped"), bool):
            return f"precisions.{name} is {entry!r}: expected shipped: true or false"
        if entry["shipped"] and not (isinstance(entry.get("file"), str) and entry["file"] in files):
            return f"precisions.{name}.file is {entry.get('file')!r}: expected one of files"
    return None
