"""JSON that carries its own sha256: one spelling, and any changed byte shows when it is read."""

import hashlib
import json
from typing import Any

SEAL = "own_sha256"


class Damaged(ValueError):
    """The text is not what was written."""


def seal(document: dict[str, Any]) -> str:
    """The text of `document`, with its own sha256 as the last entry.

    Args:
        document: JSON values; others are written by their `str`.
    """
    body = {key: value for key, value in document.items() if key != SEAL}
    digest = hashlib.sha256(_dump(body).encode()).hexdigest()
    return _dump({**body, SEAL: digest}) + "\n"


def unseal(text: str) -> dict[str, Any]:
    """What `seal` was given, its sha256 left out.

    Raises:
        Damaged: the text was changed, cut, or never sealed.
    """
    try:
        document = json.loads(text)
        intact = isinstance(document, dict) and SEAL in document and seal(document) == text
    except (ValueError, RecursionError):
        intact = False
    if not intact:
        raise Damaged("it is not what was written")
    return {key: value for key, value in document.items() if key != SEAL}


def _dump(value: Any) -> str:
    return json.dumps(value, indent=2, default=str)
