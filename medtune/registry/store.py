"""Where accepted bundles lie: every one under its id, and which one is current.

    TARGET/bundles/ID/...    a bundle, never changed once it is there
    TARGET/current           a link to the accepted bundle (a folder), or current.json (anywhere else)
    TARGET/history.jsonl     every decision, a line each

`open_store` takes a folder, or a URL that fsspec knows; fsspec is imported for URLs only.
"""

import re
from pathlib import Path
from typing import Any, Protocol

from medtune.registry.store_layout import verify_bundle

URL = re.compile(r"^[a-z][a-z0-9+.-]+://")


class ModelStore(Protocol):
    """A place for bundles. Every method raises BundleError, in one line, where the place cannot be used."""

    def current(self) -> str | None:
        """Id of the accepted bundle; None where there is none yet."""

    def bundles(self) -> list[str]:
        """Ids of the bundles there, oldest first."""

    def fetch(self, name: str, cache: Path) -> Path:
        """A local folder with the bundle `name`, verified; fetched into `cache` where it lies elsewhere."""

    def upload(self, folder: Path, name: str) -> None:
        """Copies a bundle there, whole or not at all; it is not current yet."""

    def set_current(self, name: str) -> None:
        """Makes `name` the current bundle, in one step."""

    def remove(self, name: str) -> None:
        """Deletes a bundle that is not current."""

    def history(self) -> list[dict[str, Any]]:
        """Every decision, oldest first."""

    def append_history(self, entry: dict[str, Any]) -> None:
        """Adds a decision to the history."""


def open_store(target: str, base: Path) -> ModelStore:
    """The target that params name.

    Args:
        target: a folder, relative to `base`, or a URL.
        base: the checkout.

    Raises:
        BundleError: a URL of a kind that is not known or installed here.
    """
    if URL.match(target):
        from medtune.registry.store_url import UrlStore

        return UrlStore(target)
    from medtune.registry.store_folder import FolderStore

    return FolderStore(base / Path(target).expanduser())


def previous_bundle(store: ModelStore, cache: Path) -> str | None:
    """Id of the bundle that the current one replaced, as the current one's own gate record says."""
    name = store.current()
    if name is None:
        return None
    return verify_bundle(store.fetch(name, cache)).get("gate", {}).get("champion")
