"""What lies at a target, whatever holds it: names, the history's lines, and bundles that are whole."""

import json
import re
from pathlib import Path
from typing import Any

from handoff import document as bundle_document
from handoff.document import BundleError

BUNDLES, CURRENT, HISTORY = "bundles", "current", "history.jsonl"
NAME = re.compile(r"\w[\w.-]*", re.ASCII)


def check_name(name: str, where: object) -> str:
    """`name`, which may be a bundle's: a plain file name. Others may write to a target, and names become paths.

    Raises:
        BundleError: it may not.
    """
    if not NAME.fullmatch(name):
        raise BundleError(f"{where} names a bundle {name!r}: letters, digits, . - and _ only")
    return name


def verify(folder: Path) -> dict[str, Any]:
    """bundle.json of `folder`, every file that it names checked against its sha256.

    Raises:
        BundleError: damaged or no bundle.
    """
    document = bundle_document.read(folder)
    for name in document["files"]:
        bundle_document.read_file(folder, document, name)
    return document


def parse_history(text: str, where: str) -> list[dict[str, Any]]:
    """The lines of history.jsonl; a last line that was cut off is left out.

    Raises:
        BundleError: another line is no JSON.
    """
    lines, found = text.splitlines(), []
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
        except ValueError:
            if number < len(lines) or text.endswith("\n"):
                raise BundleError(f"{where} line {number} is damaged: it is not JSON") from None
    return found
