"""Files that contain a SHA-256 checksum of their content, so that a change is detected on reading.

The checksum is an entry of a JSON file, the first line of a text file, or the first 32 bytes of a binary file.
Checkpoints (medtune/training/checkpoint.py) and artifacts (medtune/runtime/artifact.py) have other checksums.
"""

import hashlib
import json
from typing import Any

CHECKSUM_KEY = "own_sha256"
CHECKSUM_BYTES = 32


class ChecksumError(ValueError):
    """Content that does not match its checksum."""

    def __init__(self, reason: str = "the content does not match its checksum") -> None:
        super().__init__(reason)


def dump_with_checksum(document: dict[str, Any], entry: str = CHECKSUM_KEY, ascii_only: bool = True) -> str:
    """Serialize a document as JSON with its SHA-256 as the last entry.

    Args:
        document: JSON values. Other values are converted with `str`.
        entry: name of the checksum entry.
        ascii_only: escape all non-ASCII characters. File names that are not valid UTF-8 need this.

    Returns:
        The JSON text, with a newline at the end.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    body = {key: value for key, value in document.items() if key != entry}
    digest = hashlib.sha256(_dump(body, ascii_only).encode()).hexdigest()
    return _dump({**body, entry: digest}, ascii_only) + "\n"


def load_with_checksum(text: str, entry: str = CHECKSUM_KEY) -> dict[str, Any]:
    """Parse the output of `dump_with_checksum` and verify its checksum.

    Args:
        text: the JSON text.
        entry: name of the checksum entry.

    Returns:
        The document without the checksum entry.

    Raises:
        ChecksumError: the text was changed or truncated, or has no checksum.
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
    """Add a first line with the SHA-256 of a text.

    Args:
        body: the text.
        first: the first line, with `%s` for the checksum.

    Returns:
        The first line, followed by the text.
    """
    return f"{first % hashlib.sha256(body.encode()).hexdigest()}\n{body}"


def strip_text_checksum(text: str, first: str) -> str:
    """Verify and remove the first line that `add_text_checksum` added.

    Args:
        text: result of `add_text_checksum`.
        first: the first line, with `%s` for the checksum.

    Returns:
        The text without its first line.

    Raises:
        ChecksumError: the text was changed or truncated, or has no checksum.
    """
    body = text.partition("\n")[2]
    if add_text_checksum(body, first) != text:
        raise ChecksumError
    return body


def add_bytes_checksum(content: bytes) -> bytes:
    """Return the SHA-256 of the content as 32 bytes, followed by the content."""
    return hashlib.sha256(content).digest() + content


def strip_bytes_checksum(sealed: bytes) -> bytes:
    """Verify and remove the checksum that `add_bytes_checksum` added.

    Args:
        sealed: result of `add_bytes_checksum`.

    Returns:
        The content.

    Raises:
        ChecksumError: a byte was changed or is missing.
    """
    content = sealed[CHECKSUM_BYTES:]
    if add_bytes_checksum(content) != sealed:
        raise ChecksumError
    return content


def _dump(value: Any, ascii_only: bool) -> str:
    return json.dumps(value, indent=2, ensure_ascii=ascii_only, allow_nan=False, default=str)
