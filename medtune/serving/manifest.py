"""bundle.json: how it is written, and how it is read back or refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

from medtune.serving import members, tasks
from medtune.serving.checksum import ChecksumError, dump_with_checksum, load_with_checksum
from medtune.serving.manifest_fields import validate_manifest

SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, 2)
MANIFEST_FILE = "bundle.json"
CHECKSUM_KEY = "sha256"
REQUIRED_KEYS = ("task", "input", "output", "preprocessing", "precisions", "files")


class BundleError(Exception):
    """The bundle, or what was asked of it, cannot be used: one line that says why."""


def dump_manifest(document: dict[str, Any]) -> str:
    """The one spelling of `document`, with its own sha256 in it: any changed byte shows when it is read.

    Args:
        document: JSON values; NaN is refused.
    """
    return dump_with_checksum(document, CHECKSUM_KEY, ascii_only=False)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What `folder`/bundle.json says.

    Raises:
        BundleError: there is none, it was changed since it was written, a field of it is not as it must be, or this
            version cannot read it.
    """
    path = folder / MANIFEST_FILE
    try:
        text = path.read_bytes().decode("utf-8")
        document = json.loads(text)
    except FileNotFoundError:
        raise BundleError(f"{folder} is no bundle: there is no {MANIFEST_FILE} in it") from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise BundleError(f"{path} is damaged: it is not JSON") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BundleError(f"{path} has schema version {version}; this handoff reads {SCHEMA_VERSION}: update it")
    try:
        load_with_checksum(text, CHECKSUM_KEY)
    except ChecksumError:
        raise BundleError(f"{path} is damaged: it is not what was exported") from None
    if version not in READABLE_VERSIONS:
        raise BundleError(f"{path} has schema version {version!r}; this handoff reads {SCHEMA_VERSION}")
    if missing := [key for key in REQUIRED_KEYS if key not in document]:
        raise BundleError(f"{path} lacks {', '.join(missing)}")
    if wrong := validate_manifest(document) or members.fault(document):
        raise BundleError(f"{path}: {wrong}")
    task = tasks.find(document["task"]["kind"])
    if task is None:
        raise BundleError(f"{path}: task.kind is {document['task']['kind']!r}, which this installation does not know")
    if wrong := task.fault(document):
        raise BundleError(f"{path}: {wrong}")
    return document


def read_file(folder: Path, document: dict[str, Any], name: str) -> bytes:
    """The bytes of a file of the bundle, checked: what was hashed is what is handed back.

    Raises:
        BundleError: it is absent, differs from its sha256, is not of the bundle or outside its folder.
    """
    try:
        content = _path(folder, document, name).read_bytes()
    except OSError as error:
        raise BundleError(f"{folder / name} is missing or unreadable: {error.strerror}") from None
    _compare(folder, document, name, hashlib.sha256(content).hexdigest())
    return content


def check_file(folder: Path, document: dict[str, Any], name: str) -> None:
    """Check a file of the bundle that may be larger than memory.

    Raises:
        BundleError: as for `read_file`.
    """
    try:
        with _path(folder, document, name).open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{folder / name} is missing or unreadable: {error.strerror}") from None
    _compare(folder, document, name, found)


def _path(folder: Path, document: dict[str, Any], name: str) -> Path:
    if name not in document["files"]:
        raise BundleError(f"{folder}: {MANIFEST_FILE} names no file {name!r}")
    if Path(name).name != name:
        raise BundleError(f"{folder}: {MANIFEST_FILE} names {name!r}, outside the bundle's own folder")
    return folder / name


def _compare(folder: Path, document: dict[str, Any], name: str, sha256: str) -> None:
    if sha256 != document["files"][name]:
        raise BundleError(f"{folder / name} is damaged: its sha256 is not the one in {MANIFEST_FILE}")
