"""Which files lie under a data root, and whether they are still the same."""

from collections.abc import Iterable
from pathlib import Path

from medtune.config.errors import InputError
from medtune.data.sample import Sample
from medtune.runtime.artifact import digest
from medtune.serving.decode import SUFFIXES
from medtune.serving.folder_scan import FolderContent, scan_folder


def require_root(root: Path | None) -> Path:
    """The data root, which exists.

    Raises:
        InputError: none is named, or there is nothing at that path.
    """
    if root is None:
        raise InputError("data.root is null: this source needs the folder (or archive) with your images")
    if not root.exists():
        raise InputError(f"data.root: {root} does not exist; name the folder (or archive) with your images")
    return root


def find_files(root: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[str]:
    """Files under `root` with one of `suffixes` (any case), relative and posix, sorted; hidden ones left out.

    Raises:
        InputError: as `scan_root`.
    """
    return list(scan_root(root, suffixes).images)


def scan_root(root: Path, suffixes: tuple[str, ...] = SUFFIXES) -> FolderContent:
    """Everything under `root`.

    Raises:
        InputError: a folder cannot be read, or is a link (what it holds could be left out or counted twice unnoticed).
    """
    try:
        content = scan_folder(root, suffixes)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from None
    if content.links:
        raise InputError(f"{root / content.links[0]} is a link to a folder; point data.root at the real one")
    return content


def image_path(sample: Sample, root: Path) -> Path:
    """Where a record's image file lies."""
    return sample.file or root / sample.path


def index_hash(
    samples: Iterable[Sample], root: Path | None, inputs: Iterable[Path] = (), unused: Iterable[object] = ()
) -> str:
    """Digest of every record and of the size and time of every file behind them; changes when one of them does.

    Args:
        samples: the records.
        root: where their files lie; None where there are none.
        inputs: further files that the records come from.
        unused: what the report says of files that are not used.
    """
    entries: list[object] = []
    for sample in samples:
        signature = [] if sample.read is not None or root is None else _file_signature(image_path(sample, root))
        entries.append(
            [sample.path, sample.label, sample.patient_id, sample.metadata, sample.published_splits, signature]
        )
    return digest([entries, [[path.name, *_file_signature(path)] for path in inputs], *unused])


def _file_signature(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError:  # a dangling link: decoding names it
        return []
    return [stat.st_size, stat.st_mtime_ns]
