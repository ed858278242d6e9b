"""Choice of the format of an answer from the header Accept of a request."""

import math
from typing import Literal

AnswerKind = Literal["label_map", "dicom_seg", "json"]
DICOM_MEDIA_TYPE = "application/dicom"
_KINDS: dict[str, AnswerKind] = {DICOM_MEDIA_TYPE: "dicom_seg", "application/json": "json"}
_DEFAULT: AnswerKind = "label_map"


def requested_kind(accept: str) -> AnswerKind:
    """Return the format with the highest quality value of a header (RFC 9110, section 12.5.1).

    Args:
        accept: value of the header Accept; empty if it is missing.

    Returns:
        `dicom_seg` for application/dicom, and `json` for application/json. `label_map` (a file with the label map) for
        every other type, including `*/*`, and for an empty header. The first of equally preferred types counts.
    """
    best, highest = _DEFAULT, 0.0
    for part in accept.split(","):
        name, *parameters = (text.strip().lower() for text in part.split(";"))
        quality = min((_quality(text[2:]) for text in parameters if text.startswith("q=")), default=1.0)
        if name and quality > highest:
            best, highest = _KINDS.get(name, _DEFAULT), quality
    return best


def _quality(text: str) -> float:
    """Return the quality value of a media type, 0..1; 0 if it is invalid."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and 0 <= value <= 1 else 0.0
