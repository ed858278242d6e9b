"""Segmentation (label maps of volumes or images): results, and fields of bundle.json."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from medtune.serving.field_error import FieldError, show_json, wrong_field
from medtune.serving.volumes.document import INPUT, VolumeSettings

MAX_LABELS = 255
SEPARATOR = "; "
_SHOWN = 30


def validate(document: Mapping[str, Any]) -> str | None:
    """Return a message about the first invalid field of bundle.json, or None if all fields are valid."""
    labels = document.get("classes")
    if not isinstance(labels, list) or not labels or not all(isinstance(name, str) for name in labels):
        return wrong_field("classes", labels, "a list of names of labels")
    if len(set(labels)) < len(labels) or len(labels) > MAX_LABELS:
        return wrong_field("classes", labels, f"at most {MAX_LABELS} different names")
    if document["input"]["name"] != INPUT:
        return wrong_field("input.name", document["input"]["name"], show_json(INPUT))
    try:
        VolumeSettings.from_document(document)
    except FieldError as error:
        return str(error)
    return None


def shape(document: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of the output of one network for one window (part of a volume): (1 + labels, *patch)."""
    return (1 + len(document["classes"]), *document["volumes"]["patch"])


def columns(document: Mapping[str, Any]) -> list[str]:
    """Return the columns of the table: `ml_<label>,...,uncertainty_<label>,...,flags`.

    For images, `pixels_<label>` replaces `ml_<label>`.
    """
    labels, unit = document["classes"], "pixels" if _has_images(document) else "ml"
    return [*(f"{unit}_{name}" for name in labels), *(f"uncertainty_{name}" for name in labels), "flags"]


def rows(output: Sequence[Any], document: Mapping[str, Any]) -> list[list[Any]]:
    """Return one row per volume.

    Args:
        output: `SegmentedVolume` of each volume.
        document: content of bundle.json.

    Returns:
        One row per item: the size of each label (ml, or pixels for images), the uncertainty of each label (NaN if the
        label was not found), and the flags (warnings), joined by `; `.
    """
    images = _has_images(document)
    return [
        [*(item.pixels if images else item.volumes_ml), *item.uncertainty, SEPARATOR.join(item.flags)]
        for item in output
    ]


def entry(row: Sequence[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as JSON: `volumes_ml` (or `pixels`) and `uncertainty` per label, and the list `flags`."""
    labels = document["classes"]
    uncertainty = [None if math.isnan(value) else value for value in row[len(labels) : 2 * len(labels)]]
    return {
        "pixels" if _has_images(document) else "volumes_ml": dict(zip(labels, row[: len(labels)], strict=True)),
        "uncertainty": dict(zip(labels, uncertainty, strict=True)),
        "flags": row[-1].split(SEPARATOR) if row[-1] else [],
    }


def prediction(row: Sequence[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of `entry`."""
    return entry(row, document)


def rule(document: Mapping[str, Any]) -> str:
    """Describe the post-processing in one or two sentences."""
    values = document["volumes"]["post_processing"]
    names = [document["classes"][label - 1] for label in values["largest"]]
    shown = ", ".join(names[:_SHOWN]) + (f", and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
    parts = [f"Only the largest component of {shown} is kept."] if names else []
    if values["min_volume_mm3"]:
        parts.append(f"Components below {values['min_volume_mm3']:g} mm³ are removed.")
    return " ".join(parts) or "No components are removed."


def summary(document: Mapping[str, Any]) -> str:
    """Describe labels, channels and spacing: `segments liver, tumor in CT at 0.8 x 0.8 x 1.5 mm`.

    Args:
        document: content of bundle.json.

    Returns:
        The description, with at most 30 labels.
    """
    labels, volumes = document["classes"], document["volumes"]
    more = f", and {len(labels) - _SHOWN:,} more" if len(labels) > _SHOWN else ""
    if _has_images(document):
        return f"segments {', '.join(labels[:_SHOWN])}{more} in images ({', '.join(volumes['channels'])})"
    spacing = " x ".join(f"{value:.3g}" for value in volumes["spacing"])
    return f"segments {', '.join(labels[:_SHOWN])}{more} in {', '.join(volumes['channels'])} at {spacing} mm"


def _has_images(document: Mapping[str, Any]) -> bool:
    return "images" in document.get("volumes", {})
