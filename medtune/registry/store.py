"""Store of accepted bundles.

    TARGET/bundles/ID/...    a bundle, never changed after it is written
    TARGET/current           link to the current bundle. A store behind a URL has a file current.json instead
    TARGET/history.jsonl     one line per decision of the gate and per rollback

TARGET is `handoff.target`. `open_store` accepts a folder or an fsspec URL. fsspec is imported for URLs only.
"""

import re
from pathlib import Path
from typing import Any, Protocol

from medtune.registry.store_layout import verify_bundle

URL = re.compile(r"^[a-z][a-z0-9+.-]+://")


class ModelStore(Protocol):
    """Store of bundles. Every method raises BundleError with one line if the store is not usable."""

    def current(self) -> str | None:
        """Return the id of the current bundle, or None before the first one."""

    def bundles(self) -> list[str]:
        """Return the ids of all bundles, oldest first."""

    def fetch(self, name: str, cache: Path) -> Path:
        """Return a local folder with the verified bundle `name`. A remote bundle is fetched to `cache`."""

    def upload(self, folder: Path, name: str) -> None:
        """Copy a bundle to the store atomically, without making it current."""

    def set_current(self, name: str) -> None:
        """Make `name` the current bundle atomically."""

    def remove(self, name: str) -> None:
        """Delete a bundle that is not current."""

    def history(self) -> list[dict[str, Any]]:
        """Return all decisions, oldest first."""

    def append_history(self, entry: dict[str, Any]) -> None:
        """Append a decision to the history."""


def open_store(target: str, base: Path, key: str = "handoff.target") -> ModelStore:
    """Open a store of bundles.

    Args:
        target: folder, relative to `base`, or URL.
        base: project folder.
        key: params key or argument that contains the target, for messages.

    Returns:
        The store. It may be empty.

    Raises:
        BundleError: the scheme of the URL is unknown, or its package is not installed.
    """
    if URL.match(target):
        from medtune.registry.store_url import UrlStore

        return UrlStore(target, key)
    from medtune.registry.store_folder import FolderStore

    return FolderStore(base / Path(target).expanduser())


def previous_bundle(store: ModelStore, cache: Path) -> str | None:
    """Return the id of the bundle that the current one replaced; None if there is no such bundle."""
    name = store.current()
    if name is None:
        return None
    champion: str | None = verify_bundle(store.fetch(name, cache)).get("gate", {}).get("champion")
    return champion
