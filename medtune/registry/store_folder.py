"""A target that is a folder of this machine, or one that is mounted."""

import os
import shutil
from pathlib import Path
from typing import Any

from medtune.registry.store_layout import (
    BUNDLES,
    CURRENT,
    HISTORY,
    check_name,
    format_history,
    parse_history,
    require_pointer,
    verify_bundle,
)  # fmt: skip
from medtune.runtime.artifact import fsync, write_text
from medtune.serving.manifest import BundleError


class FolderStore:
    """Bundles under a folder; `current` is a relative link, replaced by one rename."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def current(self) -> str | None:
        """Id of the accepted bundle; None where there is none yet."""
        link = self.folder / CURRENT
        if not link.is_symlink():
            if link.exists():
                raise BundleError(f"{link} is no link: was it copied there? Point it at a folder under {BUNDLES}/")
            require_pointer(self.history(), link)
            return None
        name = Path(os.readlink(link)).name
        bundle = self.folder / BUNDLES / name
        if not bundle.is_dir():
            raise BundleError(f"{link} points at {name}, which is not there")
        if not link.exists() or not link.samefile(bundle):
            raise BundleError(f"{link} points at {os.readlink(link)}, which is no folder under {BUNDLES}/")
        return name

    def bundles(self) -> list[str]:
        """Ids of the bundles there, oldest first."""
        folder = self.folder / BUNDLES
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))

    def fetch(self, name: str, cache: Path) -> Path:
        """The bundle's own folder, verified."""
        folder = self.folder / BUNDLES / check_name(name, self.folder)
        verify_bundle(folder)
        return folder

    def upload(self, folder: Path, name: str) -> None:
        """Copies a bundle beside its place, then renames it into it."""
        destination = self.folder / BUNDLES / name
        partial = destination.with_name(f".{name}.partial")
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            for leftover in destination.parent.glob(".*.partial"):  # one writer: the checkout's lock is held
                shutil.rmtree(leftover)
            shutil.copytree(folder, partial)
            verify_bundle(partial)
            for path in [*partial.rglob("*"), partial]:
                fsync(path)
            partial.rename(destination)
            fsync(destination.parent)
        except OSError as error:
            raise BundleError(f"{self.folder}: the bundle cannot be put there: {error.strerror or error}") from error

    def set_current(self, name: str) -> None:
        """Makes `name` the current bundle by one rename of a link."""
        new = self.folder / f".{CURRENT}.new"
        try:
            new.unlink(missing_ok=True)
            new.symlink_to(Path(BUNDLES) / name)
            new.replace(self.folder / CURRENT)
            fsync(self.folder)
        except OSError as error:
            raise BundleError(f"{self.folder / CURRENT} cannot be written: {error.strerror}") from error

    def remove(self, name: str) -> None:
        """Deletes a bundle that is not current."""
        if name == self.current():
            raise BundleError(f"{name} is the current bundle: it stays")
        shutil.rmtree(self.folder / BUNDLES / name)

    def history(self) -> list[dict[str, Any]]:
        """Every decision, oldest first."""
        path = self.folder / HISTORY
        return parse_history(path.read_bytes().decode("utf-8", "replace"), str(path)) if path.is_file() else []

    def append_history(self, entry: dict[str, Any]) -> None:
        """Adds a decision to the history, after repairing a line that a crash cut off."""
        path, lines = self.folder / HISTORY, [*self.history(), entry]
        try:
            write_text(path, format_history(lines))
        except OSError as error:
            raise BundleError(f"{path} cannot be written: {error.strerror}") from error
