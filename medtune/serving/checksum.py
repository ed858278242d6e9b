"""Files that carry their own sha256, so that any changed byte is seen when they are read.

Four kinds have one: JSON as an entry, text as its first line, bytes as their first 32, and checkpoints in their
safetensors header (medtune/training/checkpoint.py). Folders have theirs in result.json (medtune/runtime/artifact.py).
"""

import hashlib
import json
from typing import Any

CHECKSUM_KEY = "own_sha256"
CHECKSUM_BYTES = 32


class ChecksumError(ValueError):
    """The content is not what was written."""

    def __init__(self, reason: str = "it is not what was written") -> None:
        super().__init__(reason)


def dump_with_checksum(document: dict[str, Any], entry: str = CHECKSUM_KEY, ascii_only: bool = True) -> str:
    """Write a document as JSON with its own sha256 as the last entry.

    Args:
        document: JSON values; others are written by their `str`. NaN is refused.
        entry: name of that entry.
        ascii_only: escape all other characters, so that names of files that are not UTF-8 can be written too.

    Returns:
        The text, with a newline at its end.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    body = {key: value for key, value in document.items() if key != entry}
    digest = hashlib.sha256(_dump(body, ascii_only).encode()).hexdigest()
    return _dump({**body, entry: digest}, ascii_only) + "\n"


def load_with_checksum(text: str, entry: str = CHECKSUM_KEY) -> dict[str, Any]:
    """Read what `dump_with_checksum` wrote, without its sha256.

    Raises:
        ChecksumError: the text was changed, cut, or never sealed.
    """
    try:
        document = json.loads(text)
        intact = (
            isinstance(document, dict)
            and entry in document
            and dump_with_checksum(document, entry, text.isascii()) == text
        )
    except (ValueError, RecursionError):
        intact = False
    if not intact:
        raise ChecksumError
    return {key: value for key, value in document.items() if key != entry}


def add_text_checksum(body: str, first: str) -> str:
    """Write a text below a line with its sha256.

    Args:
        body: the text.
        first: that line, with a `%s` for the sha256.
    """
    return f"{first % hashlib.sha256(body.encode()).hexdigest()}\n{body}"


def strip_text_checksum(text: str, first: str) -> str:
    """Read what `add_text_checksum` wrote, without its first line.

    Raises:
        ChecksumError: the text was changed, cut, or never sealed.
    """
    body = text.partition("\n")[2]
    if add_text_checksum(body, first) != text:
        raise ChecksumError
    return body


def add_bytes_checksum(content: bytes) -> bytes:
    """Put the sha256 of some bytes before them, 32 bytes."""
    return hashlib.sha256(content).digest() + content


def strip_bytes_checksum(sealed: bytes) -> bytes:
    """Read what `add_bytes_checksum` wrote, without its sha256.

    Raises:
        ChecksumError: a byte was changed, or some are missing.
    """
    content = sealed[CHECKSUM_BYTES:]
    if add_bytes_checksum(content) != sealed:
        raise ChecksumError
    return content


def _dump(value: Any, ascii_only: bool) -> str:
    return json.dumps(value, indent=2, ensure_ascii=ascii_only, allow_nan=False, default=str)
