"""Reading, verification and writing of bundle.json, and verification of the files that it lists."""

import hashlib
import json
from pathlib import Path
from typing import Any

from medtune.serving import members, tasks
from medtune.serving.checksum import ChecksumError, dump_with_checksum, load_with_checksum
from medtune.serving.field_error import show_json, wrong_field
from medtune.serving.manifest_fields import REQUIRED, REQUIRED_FOR_IMAGES, VOLUMES, validate_manifest

SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, 2)
MANIFEST_FILE = "bundle.json"
CHECKSUM_KEY = "sha256"
COPY_AGAIN = "Copy or export the bundle again"


class BundleError(Exception):
    """Error about a bundle or its use. The message is one line for the user."""


def dump_manifest(document: dict[str, Any]) -> str:
    """Serialize bundle.json with its checksum.

    Args:
        document: content of bundle.json.

    Returns:
        The text of the file.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return dump_with_checksum(document, CHECKSUM_KEY, ascii_only=False)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and validate bundle.json.

    Args:
        folder: folder of the bundle.

    Returns:
        The content of bundle.json.

    Raises:
        BundleError: the file is missing or was changed after export, a field is invalid, or this version of MedTune
            cannot read it.
    """
    path = folder / MANIFEST_FILE
    try:
        text = path.read_bytes().decode("utf-8")
        document: Any = json.loads(text)
    except FileNotFoundError:
        if not folder.exists():
            raise BundleError(
                f"bundle {folder}: no such folder. Check the path, or write a bundle with `medtune export`"
            ) from None
        raise BundleError(
            f"{folder} is not a bundle: it contains no {MANIFEST_FILE}. Use a folder that `medtune export` has written"
        ) from None
    except NotADirectoryError:
        raise BundleError(
            f"{folder} is a file, not the folder of a bundle. Use a folder that `medtune export` has written"
        ) from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}. Check the permissions") from None
    except (ValueError, RecursionError):
        raise BundleError(f"{path} is damaged: it is not JSON. {COPY_AGAIN}") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BundleError(
            f"{path} has schema version {version}; this version of medtune reads {SCHEMA_VERSION}. Update medtune"
        )
    try:
        load_with_checksum(text, CHECKSUM_KEY)
    except ChecksumError:
        raise BundleError(f"{path} is damaged: it was changed after export. {COPY_AGAIN}") from None
    if version not in READABLE_VERSIONS:
        raise BundleError(
            f"{path} has schema version {show_json(version)}; this version of medtune reads {SCHEMA_VERSION}. "
            "Export the bundle again"
        )
    required = REQUIRED if VOLUMES in document else REQUIRED | REQUIRED_FOR_IMAGES
    for key, expected in required.items():
        if key not in document:
            raise BundleError(f"{path}: {wrong_field(key, None, expected)}. {COPY_AGAIN}")
    if problem := validate_manifest(document) or members.validate(document):
        raise BundleError(f"{path}: {problem}. Export the bundle again")
    task = tasks.find(document["task"]["kind"])
    if task is None:
        raise BundleError(
            f'{path}: key "task.kind" is {show_json(document["task"]["kind"])}, which is unknown. Update medtune'
        )
    if problem := task.validate(document):
        raise BundleError(f"{path}: {problem}. Export the bundle again")
    return dict(document)


def read_file(folder: Path, document: dict[str, Any], name: str) -> bytes:
    """Read a file of the bundle and verify its checksum.

    Args:
        folder: folder of the bundle.
        document: content of bundle.json.
        name: name of the file.

    Returns:
        The verified bytes.

    Raises:
        BundleError: the file is missing, does not match its SHA-256, is not listed or is outside of the folder.
    """
    try:
        content = _path(folder, document, name).read_bytes()
    except OSError as error:
        raise BundleError(f"{folder / name} is missing or unreadable: {error.strerror}. {COPY_AGAIN}") from None
    _compare(folder, document, name, hashlib.sha256(content).hexdigest())
    return content


def check_file(folder: Path, document: dict[str, Any], name: str) -> None:
    """Verify the checksum of a file that may be larger than memory.

    Args:
        folder: folder of the bundle.
        document: content of bundle.json.
        name: name of the file.

    Raises:
        BundleError: the file is missing, does not match its SHA-256, is not listed or is outside of the folder.
    """
    try:
        with _path(folder, document, name).open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{folder / name} is missing or unreadable: {error.strerror}. {COPY_AGAIN}") from None
    _compare(folder, document, name, actual)


def _path(folder: Path, document: dict[str, Any], name: str) -> Path:
    """Return the path of a file that bundle.json lists. Raise BundleError for other files."""
    if name not in document["files"]:
        raise BundleError(f"{folder}: {MANIFEST_FILE} does not list the file {name!r}. {COPY_AGAIN}")
    if Path(name).name != name:
        raise BundleError(
            f"{folder}: {MANIFEST_FILE} lists {name!r}, which is outside of the bundle's folder. {COPY_AGAIN}"
        )
    return folder / name


def _compare(folder: Path, document: dict[str, Any], name: str, sha256: str) -> None:
    if sha256 != document["files"][name]:
        raise BundleError(f"{folder / name} is damaged: its SHA-256 differs from {MANIFEST_FILE}. {COPY_AGAIN}")
