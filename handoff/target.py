"""Where accepted bundles lie: every one under its id, and which one is current.

    TARGET/bundles/ID/...    a bundle, never changed once it is there
    TARGET/current           a link to the accepted bundle (a folder), or current.json (anywhere else)
    TARGET/history.jsonl     every decision, a line each

`open_target` takes a folder, or a URL that fsspec knows; fsspec is imported for URLs only.
"""

import json
import re
from pathlib import Path
from typing import Any, Protocol

from handoff import document as bundle_document
from handoff.document import BundleError

BUNDLES, CURRENT, HISTORY = "bundles", "current", "history.jsonl"
URL = re.compile(r"^[a-z][a-z0-9+.-]+://")
NAME = re.compile(r"\w[\w.-]*", re.ASCII)


class Target(Protocol):
    """A place for bundles. Every method raises BundleError, in one line, where the place cannot be used."""

    def current(self) -> str | None:
        """Id of the accepted bundle; None where there is none yet."""

    def bundles(self) -> list[str]:
        """Ids of the bundles there, oldest first."""

    def local(self, name: str, cache: Path) -> Path:
        """A local folder with the bundle `name`, verified; fetched into `cache` where it lies elsewhere."""

    def put(self, folder: Path, name: str) -> None:
        """Copies a bundle there, whole or not at all; it is not current yet."""

    def point(self, name: str) -> None:
        """Makes `name` the current bundle, in one step."""

    def remove(self, name: str) -> None:
        """Deletes a bundle that is not current."""

    def history(self) -> list[dict[str, Any]]:
        """Every decision, oldest first."""

    def note(self, line: dict[str, Any]) -> None:
        """Adds a decision to the history."""


def open_target(target: str, base: Path) -> Target:
    """The target that params name.

    Args:
        target: a folder, relative to `base`, or a URL.
        base: the checkout.

    Raises:
        BundleError: a URL of a kind that is not known or installed here.
    """
    if URL.match(target):
        from handoff.target_url import UrlTarget

        return UrlTarget(target)
    from handoff.target_folder import FolderTarget

    return FolderTarget(base / Path(target).expanduser())


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


def previous(target: Target, cache: Path) -> str | None:
    """Id of the bundle that the current one replaced, as the current one's own gate record says."""
    name = target.current()
    if name is None:
        return None
    return verify(target.local(name, cache)).get("gate", {}).get("champion")
