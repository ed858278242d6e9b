"""Which files lie under a data root, and whether they are still the same."""

import os
from collections.abc import Iterable
from pathlib import Path

from medtune.config.errors import InputError
from medtune.data.sample import Sample
from medtune.runtime.artifact import digest
from medtune.serving.decode import SUFFIXES


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
        InputError: a folder under `root` is a link (what it holds could be left out or counted twice unnoticed).
    """
    paths = []
    for folder, folders, files in os.walk(root, onerror=_raise_unreadable):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                raise InputError(f"{os.path.join(folder, name)} is a link to a folder; point data.root at the real one")
        here = Path(folder).relative_to(root)
        paths += [
            (here / name).as_posix() for name in files if name.lower().endswith(suffixes) and not name.startswith(".")
        ]
    return sorted(paths)


def _raise_unreadable(error: OSError) -> None:
    raise InputError(f"{error.filename} cannot be read: {error.strerror}")


def image_path(sample: Sample, root: Path) -> Path:
    """Where a record's image file lies."""
    return sample.file or root / sample.path


def index_hash(samples: Iterable[Sample], root: Path | None, inputs: Iterable[Path] = ()) -> str:
    """Digest of every record and of the size and time of every file behind them; changes when one of them does."""
    entries: list[object] = []
    for sample in samples:
        signature = [] if sample.read is not None or root is None else _file_signature(image_path(sample, root))
        entries.append(
            [sample.path, sample.label, sample.patient_id, sample.metadata, sample.published_splits, signature]
        )
    return digest([entries, [[path.name, *_file_signature(path)] for path in inputs]])


def _file_signature(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError:  # a dangling link: decoding names it
        return []
    return [stat.st_size, stat.st_mtime_ns]
