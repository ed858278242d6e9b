"""Coded terms that describe the labels of a DICOM-SEG.

A DICOM-SEG is a label map in DICOM format. Each of its labels has two codes (DICOM PS3.3, C.8.20.4): the category of
the structure, and its type. Without a file of codes, both are "Tissue" of SNOMED CT. Viewers accept it for every label.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.serving.manifest import BundleError

# Value, coding scheme and meaning.
Term = tuple[str, str, str]
TISSUE: Term = ("85756007", "SCT", "Tissue")
EXAMPLE = '{"liver": {"category": ["91723000", "SCT", "Anatomical Structure"], "type": ["10200004", "SCT", "Liver"]}}'
_KEYS = ("category", "type")
# Longest value, coding scheme and meaning of a term in DICOM.
_MAX_CHARS = (16, 16, 64)


@dataclass(frozen=True)
class SegmentCodes:
    """Codes of one label.

    Attributes:
        category: Segmented Property Category, such as an anatomical structure.
        type: Segmented Property Type, such as the liver.
    """

    category: Term = TISSUE
    type: Term = TISSUE


def read_codes(path: Path | None, labels: Sequence[str]) -> list[SegmentCodes]:
    """Read the codes of labels from a JSON file.

    Args:
        path: JSON object with the entries `category` and `type` per label, as in `EXAMPLE`; None for no codes.
        labels: names of all labels.

    Returns:
        The codes of each label. A label or an entry that the file lacks gets the code `TISSUE`.

    Raises:
        BundleError: the file cannot be read, an entry is invalid, or the file names an unknown label.
    """
    if path is None:
        return [SegmentCodes() for _ in labels]
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"--codes={path}: cannot be read: {error.strerror}. Check the path") from None
    except (ValueError, RecursionError):
        raise BundleError(f"--codes={path}: not a JSON file. Write {EXAMPLE}") from None
    if not isinstance(document, dict):
        raise BundleError(f"--codes={path}: expected an object with an entry per label. Write {EXAMPLE}")
    if unknown := [name for name in document if name not in labels]:
        raise BundleError(f"--codes={path}: {unknown[0]!r} is not a label of the bundle. Use {', '.join(labels)}")
    codes = {}
    for name, entry in document.items():
        if not isinstance(entry, dict) or not set(entry) <= set(_KEYS):
            raise BundleError(f"--codes={path}: {name} needs the entries {' and '.join(_KEYS)}. Write {EXAMPLE}")
        codes[name] = SegmentCodes(**{key: _term(path, f"{name}.{key}", value) for key, value in entry.items()})
    return [codes.get(name, SegmentCodes()) for name in labels]


def _term(path: Path, name: str, value: Any) -> Term:
    """Check a term of the file; `path` and `name` are for the message."""
    valid = isinstance(value, list) and len(value) == len(_MAX_CHARS)
    if not valid or not all(_is_text(part, limit) for part, limit in zip(value, _MAX_CHARS, strict=True)):
        limits = ", ".join(map(str, _MAX_CHARS))
        raise BundleError(
            f"--codes={path}: {name} is {str(value)[:80]}; expected value, coding scheme and meaning, as three texts "
            f"of at most {limits} characters"
        )
    code, scheme, meaning = value
    return code, scheme, meaning


def _is_text(value: object, limit: int) -> bool:
    """Return True for text that one DICOM value can contain. A backslash would separate two values."""
    return isinstance(value, str) and 0 < len(value.strip()) <= limit and value.isprintable() and "\\" not in value
