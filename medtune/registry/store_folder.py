"""Store of bundles in a local or mounted folder."""

import os
import shutil
from pathlib import Path
from typing import Any

from medtune.registry.store_layout import (
    BUNDLES,
    CURRENT,
    HISTORY,
    RESTORE_POINTER,
    check_name,
    format_history,
    parse_history,
    require_pointer,
    verify_bundle,
)  # fmt: skip
from medtune.runtime.artifact import fsync, write_text
from medtune.serving.manifest import BundleError

FREE = "Free disk space or fix permissions"


class FolderStore:
    """Bundles in a folder. The file `current` is a relative link that is replaced with a single rename."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def current(self) -> str | None:
        """Return the id of the current bundle, or None before the first one."""
        link = self.folder / CURRENT
        if not link.is_symlink():
            if link.exists():
                raise BundleError(
                    f"{link}: expected a symbolic link, found a file or folder. Replace it with a link to a folder in "
                    f"{BUNDLES}/"
                )
            require_pointer(self.history(), link)
            return None
        name = Path(os.readlink(link)).name
        bundle = self.folder / BUNDLES / name
        if not bundle.is_dir():
            raise BundleError(f"{link}: links to {name}, which does not exist. {RESTORE_POINTER}")
        if not link.exists() or not link.samefile(bundle):
            raise BundleError(
                f"{link}: links to {os.readlink(link)}, which is not a folder in {BUNDLES}/. {RESTORE_POINTER}"
            )
        return name

    def bundles(self) -> list[str]:
        """Return the ids of all bundles, oldest first."""
        folder = self.folder / BUNDLES
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))

    def fetch(self, name: str, cache: Path) -> Path:
        """Return the folder of the verified bundle."""
        folder = self.folder / BUNDLES / check_name(name, self.folder)
        verify_bundle(folder)
        return folder

    def upload(self, folder: Path, name: str) -> None:
        """Copy a bundle to a temporary folder and rename it."""
        destination = self.folder / BUNDLES / name
        partial = destination.with_name(f".{name}.partial")
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            for leftover in destination.parent.glob(".*.partial"):  # the lock of the project excludes other writers
                shutil.rmtree(leftover)
            shutil.copytree(folder, partial)
            verify_bundle(partial)
            for path in [*partial.rglob("*"), partial]:
                fsync(path)
            partial.rename(destination)
            fsync(destination.parent)
        except OSError as error:
            raise BundleError(
                f"{self.folder}: the bundle cannot be written ({error.strerror or error}). {FREE}"
            ) from error

    def set_current(self, name: str) -> None:
        """Make `name` the current bundle with a single rename of a link."""
        new_link = self.folder / f".{CURRENT}.new"
        try:
            new_link.unlink(missing_ok=True)
            new_link.symlink_to(Path(BUNDLES) / name)
            new_link.replace(self.folder / CURRENT)
            fsync(self.folder)
        except OSError as error:
            raise BundleError(f"{self.folder / CURRENT}: cannot be written ({error.strerror}). {FREE}") from error

    def remove(self, name: str) -> None:
        """Delete a bundle that is not current."""
        if name == self.current():
            raise BundleError(f"{name}: the current bundle cannot be removed")
        shutil.rmtree(self.folder / BUNDLES / name)

    def history(self) -> list[dict[str, Any]]:
        """Return all decisions, oldest first."""
        path = self.folder / HISTORY
        return parse_history(path.read_bytes().decode("utf-8", "replace"), str(path)) if path.is_file() else []

    def append_history(self, entry: dict[str, Any]) -> None:
        """Append a decision to the history, and repair a line that a crash truncated."""
        path, lines = self.folder / HISTORY, [*self.history(), entry]
        try:
            write_text(path, format_history(lines))
        except OSError as error:
            raise BundleError(f"{path}: cannot be written ({error.strerror}). {FREE}") from error
