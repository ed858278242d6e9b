"""What lies at a target, whatever holds it: names, the history's lines, and bundles that are whole."""

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
BUNDLE_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


def check_name(name: str, where: object) -> str:
    """`name`, which may be a bundle's: a plain file name. Others may write to a target, and names become paths.

    Raises:
        BundleError: it may not.
    """
    if not BUNDLE_NAME.fullmatch(name):
        raise BundleError(f"{where} names a bundle {name!r}: letters, digits, . - and _ only")
    return name


def verify_bundle(folder: Path) -> dict[str, Any]:
    """bundle.json of `folder`, every file that it names checked against its sha256.

    Raises:
        BundleError: damaged or no bundle.
    """
    document = bundle_document.read_manifest(folder)
    for name in document["files"]:
        bundle_document.check_file(folder, document, name)
    return document


def format_history(lines: Sequence[dict[str, Any]]) -> str:
    """The text of history.jsonl: a line with the sha256 of all that follow, then a line a decision."""
    return add_text_checksum("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), CHECKSUM_KEY)


def parse_history(text: str, where: str) -> list[dict[str, Any]]:
    """The decisions in history.jsonl. Of an older one, without a sha256, a last line that was cut off is left out.

    Raises:
        BundleError: it is not what was written.
    """
    damaged = BundleError(f"{where} is damaged: mend it, or move it away: the bundles do not need it")
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
    """Refuses a target that names no current bundle although it had one: taken for new, it would take any model.

    Raises:
        BundleError: the history tells of an accepted bundle.
    """
    for line in reversed(history):
        if name := line.get("to") or (line.get("challenger") if line.get("decision") == "promoted" else None):
            raise BundleError(
                f"{where} is gone, although {name} was accepted: `medtune rollback` with --to {name} puts it back"
            )
