"""Store of bundles behind an fsspec URL, for example an object store or SFTP."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medtune.registry.store_layout import (
    BUNDLES,
    HISTORY,
    RESTORE_POINTER,
    check_name,
    format_history,
    parse_history,
    require_pointer,
    verify_bundle,
)
from medtune.runtime.artifact import file_sha256
from medtune.serving.manifest import MANIFEST_FILE, BundleError
from medtune.serving.one_line import first_line

POINTER = "current.json"


class UrlStore:
    """Bundles behind a URL. `current.json` names the current bundle and is replaced as one object.

    Credentials come from the environment or the files of the library (AWS_PROFILE, ~/.ssh), never from params.

    Args:
        url: URL of the store (`handoff.target`).

    Raises:
        BundleError: fsspec or its package for the scheme is not installed, or fsspec does not support the scheme.
    """

    def __init__(self, url: str, key: str) -> None:
        try:
            import fsspec
            from fsspec.core import url_to_fs
        except ImportError:
            raise BundleError(f"{key}={url}: a URL needs fsspec. Run pip install fsspec") from None
        scheme = url.partition("://")[0]
        if scheme not in fsspec.available_protocols():
            raise BundleError(f"{key}={url}: fsspec does not support {scheme}://. Use a folder or another URL")
        try:
            self.files, self.root = url_to_fs(url)
        except ImportError as error:
            raise BundleError(f"{key}={url}: {error}") from None
        self.url = url

    def __str__(self) -> str:
        return self.url

    def current(self) -> str | None:
        """Return the id of the current bundle, or None before the first one."""
        text = self._read(POINTER)
        if text is None:
            require_pointer(self.history(), f"{self.url}/{POINTER}")
            return None
        try:
            document = json.loads(text)
            name = str(document["bundle"])
        except (ValueError, KeyError, TypeError):
            raise BundleError(
                f"{self.url}/{POINTER}: the file is damaged, because it names no bundle. {RESTORE_POINTER}"
            ) from None
        if document != _pointer(check_name(name, f"{self.url}/{POINTER}")):
            raise BundleError(
                f"{self.url}/{POINTER}: the file is damaged, because it names two bundles. {RESTORE_POINTER}"
            )
        return name

    def bundles(self) -> list[str]:
        """Return the ids of all complete bundles, oldest first. bundle.json is written last."""
        with self._as_bundle_error("read"):
            if not self.files.isdir(self._path(BUNDLES)):
                return []
            names = [
                str(path).rstrip("/").rpartition("/")[2] for path in self.files.ls(self._path(BUNDLES), detail=False)
            ]
            return sorted(name for name in names if self.files.exists(self._path(BUNDLES, name, MANIFEST_FILE)))

    def fetch(self, name: str, cache: Path) -> Path:
        """Return a verified copy of the bundle in `cache`, which is fetched once."""
        folder = cache / "handoff" / check_name(name, self.url)
        try:
            verify_bundle(folder)
            return folder
        except BundleError:
            shutil.rmtree(folder, ignore_errors=True)
        partial = folder.with_name(f".{name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with self._as_bundle_error("fetch the bundle from"):
            for path in self.files.ls(self._path(BUNDLES, name), detail=False):
                self.files.get_file(path, str(partial / str(path).rpartition("/")[2]))
        verify_bundle(partial)
        partial.rename(folder)
        return folder

    def upload(self, folder: Path, name: str) -> None:
        """Upload the files of a verified bundle, bundle.json last, and read each file back."""
        verify_bundle(folder)
        paths = sorted(path for path in folder.iterdir() if path.is_file())
        with self._as_bundle_error("write the bundle to"):
            self.files.makedirs(self._path(BUNDLES, name), exist_ok=True)
            for path in sorted(paths, key=lambda path: path.name == MANIFEST_FILE):
                remote = self._path(BUNDLES, name, path.name)
                self.files.put_file(str(path), remote)
                with self.files.open(remote, "rb") as stream:
                    if hashlib.file_digest(stream, "sha256").hexdigest() != file_sha256(path):
                        raise BundleError(f"{self.url}: {path.name} was damaged during the upload. Try again")

    def set_current(self, name: str) -> None:
        """Make `name` the current bundle by writing one object."""
        self._write(POINTER, json.dumps(_pointer(name)) + "\n")

    def remove(self, name: str) -> None:
        """Delete a bundle that is not current."""
        if name == self.current():
            raise BundleError(f"{name}: the current bundle cannot be removed")
        with self._as_bundle_error("delete from"):
            self.files.rm(self._path(BUNDLES, name), recursive=True)

    def history(self) -> list[dict[str, Any]]:
        """Return all decisions, oldest first."""
        text = self._read(HISTORY)
        return [] if text is None else parse_history(text, f"{self.url}/{HISTORY}")

    def append_history(self, entry: dict[str, Any]) -> None:
        """Append a decision to the history."""
        self._write(HISTORY, format_history([*self.history(), entry]))

    def _path(self, *parts: str) -> str:
        return "/".join([self.root.rstrip("/"), *parts])

    def _read(self, name: str) -> str | None:
        with self._as_bundle_error("read"):
            self.files.invalidate_cache()
            if not self.files.exists(self._path(name)):
                return None
            content: bytes = self.files.cat_file(self._path(name))
            return content.decode("utf-8", "replace")

    def _write(self, name: str, text: str) -> None:
        with self._as_bundle_error("write to"):
            self.files.makedirs(self.root, exist_ok=True)
            self.files.pipe_file(self._path(name), text.encode())

    @contextmanager
    def _as_bundle_error(self, action: str) -> Iterator[None]:
        try:
            yield
        except BundleError:
            raise
        except Exception as error:  # libraries behind fsspec raise errors of any type
            raise BundleError(f"cannot {action} {self.url}: {first_line(error, with_type=True)}") from error


def _pointer(name: str) -> dict[str, str]:
    return {"bundle": name, "path": f"{BUNDLES}/{name}"}
