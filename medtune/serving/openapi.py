"""OpenAPI description of `POST /predict`.

The endpoint parses the body itself, because FastAPI cannot accept both a single file and multipart/form-data.
"""

from collections.abc import Iterable
from typing import Any

BINARY = {"type": "string", "format": "binary"}
IMAGES = ("image/*", "application/dicom", "application/octet-stream")
JSON_MEDIA_TYPE = "application/json"


def request_body(
    kinds: Iterable[str] = IMAGES, description: str = "One image, or several as a form."
) -> dict[str, Any]:
    """Return the OpenAPI object `requestBody`.

    Args:
        kinds: media types of a body that is one file.
        description: what the request contains.

    Returns:
        The object, with multipart/form-data as a further media type.
    """
    form = {
        "type": "object",
        "properties": {"files": {"type": "array", "items": BINARY}},
        "required": ["files"],
    }
    content = {"multipart/form-data": {"schema": form}, **{kind: {"schema": BINARY} for kind in kinds}}
    return {"required": True, "description": description, "content": content}
