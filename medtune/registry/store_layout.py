"""Names, history and verification that all stores of bundles share."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtune.serving import manifest as bundle_document
from medtune.serving.checksum import ChecksumError, add_text_checksum, strip_text_checksum
from medtune.serving.manifest import BundleError

BUNDLES, CURRENT, HISTORY = "bundles", "current", "history.jsonl"
CHECKSUM_KEY = '{"sha256_of_the_rest": "%s"}'  # the first line of history.jsonl
RESTORE_POINTER = "Choose the current bundle with `medtune rollback --to NAME`"
BUNDLE_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


def check_name(name: str, where: object) -> str:
    """Raise if a name is not safe as a path, because others may write to the store.

    Args:
        name: id of a bundle.
        where: store or file that contains the name, for the error message.

    Returns:
        The name.

    Raises:
        BundleError: the name contains other characters than letters, digits, `.`, `-` and `_`.
    """
    if not BUNDLE_NAME.fullmatch(name):
        raise BundleError(f"{where}: invalid bundle name {name!r}, expected letters, digits, . - and _ only")
    return name


def verify_bundle(folder: Path) -> dict[str, Any]:
    """Verify all files of a bundle.

    Args:
        folder: folder of the bundle.

    Returns:
        Content of bundle.json.

    Raises:
        BundleError: the folder is not a bundle, or a file is damaged.
    """
    document = bundle_document.read_manifest(folder)
    for name in document["files"]:
        bundle_document.check_file(folder, document, name)
    return document


def format_history(lines: Sequence[dict[str, Any]]) -> str:
    """Return the text of history.jsonl: one line with the SHA-256 of the other lines, then one line per decision."""
    return add_text_checksum("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), CHECKSUM_KEY)


def parse_history(text: str, where: str) -> list[dict[str, Any]]:
    """Parse history.jsonl.

    Args:
        text: content of the file. Files of earlier versions have no checksum. In these files, a truncated last line is
            ignored.
        where: path of the file, for the error message.

    Returns:
        Decisions, oldest first.

    Raises:
        BundleError: the file is damaged.
    """
    damaged = BundleError(f"{where}: the history is damaged. Restore or move the file. The bundles work without it")
    if "sha256_of_the_rest" in text.partition("\n")[0]:
        try:
            return [json.loads(line) for line in strip_text_checksum(text, CHECKSUM_KEY).splitlines()]
        except ChecksumError:
            raise damaged from None
    lines, entries = text.splitlines(), []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(json.loads(line))
        except ValueError:
            if number < len(lines) or text.endswith("\n"):
                raise damaged from None
    if not entries or not all(isinstance(line, dict) and "decision" in line for line in entries):
        raise damaged
    return entries


def require_pointer(history: Sequence[dict[str, Any]], where: object) -> None:
    """Raise if the pointer to the current bundle is lost. Otherwise the store would look new and accept any model.

    Args:
        history: decisions, oldest first.
        where: path of the pointer, for the error message.

    Raises:
        BundleError: the history contains an accepted bundle.
    """
    for line in reversed(history):
        if name := line.get("to") or (line.get("challenger") if line.get("decision") == "promoted" else None):
            raise BundleError(
                f"{where}: missing, although {name} was accepted. Restore it with `medtune rollback --to {name}`"
            )
