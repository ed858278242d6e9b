"""Files under a data root, and a hash that changes with them."""

from collections.abc import Iterable
from pathlib import Path

from medtune.config.errors import InputError
from medtune.data.sample import Sample
from medtune.data.volume_files import VolumeFiles
from medtune.runtime.artifact import digest
from medtune.serving.decode import SUFFIXES
from medtune.serving.folder_scan import FolderContent, scan_folder


def require_root(root: Path | None) -> Path:
    """Check that the data root exists.

    Args:
        root: the data root, or None if `data.root` is null.

    Returns:
        The data root.

    Raises:
        InputError: `data.root` is null, or the path does not exist.
    """
    if root is None:
        raise InputError("data.root=null: this source needs images. Set data.root to the folder (or archive) with them")
    if not root.exists():
        raise InputError(f"data.root={root}: no such path. Set data.root to the folder (or archive) with your images")
    return root


def find_files(root: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[str]:
    """List the files under the data root that have one of these suffixes.

    Args:
        root: the data root.
        suffixes: file suffixes in lower case. The case of a file's suffix is ignored.

    Returns:
        Posix paths relative to `root`, sorted, without hidden files.

    Raises:
        InputError: see `scan_root`.
    """
    return list(scan_root(root, suffixes).images)


def scan_root(root: Path, suffixes: tuple[str, ...] = SUFFIXES) -> FolderContent:
    """List all files under the data root.

    Args:
        root: the data root.
        suffixes: lower-case file suffixes of images.

    Returns:
        Images, other files, system files and links to folders.

    Raises:
        InputError: a folder cannot be read, or is a link. Links are refused, because their files could be missed or
            counted twice.
    """
    try:
        content = scan_folder(root, suffixes)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}. Check the permissions") from None
    if content.links:
        raise InputError(f"{root / content.links[0]} is a link to a folder. Use folders without links in data.root")
    return content


def image_path(sample: Sample, root: Path) -> Path:
    """Return the path of a sample's image file."""
    return sample.file or root / sample.path


def sample_files(sample: Sample, root: Path | None) -> tuple[Path, ...]:
    """Return the files of a sample: the image, or all channels of a volume and its mask.

    Args:
        sample: the sample.
        root: the data root; None if the samples are not files.

    Returns:
        The files; empty if the sample is drawn or read by a function.
    """
    if sample.volume is not None:
        return sample.volume.files
    return () if sample.read is not None or root is None else (image_path(sample, root),)


def index_hash(
    samples: Iterable[Sample], root: Path | None, inputs: Iterable[Path] = (), unused: Iterable[object] = ()
) -> str:
    """Return a digest of all samples and of the size and modification time of their files.

    Args:
        samples: the samples.
        root: the data root; None if the samples are not files.
        inputs: further files that the source reads.
        unused: further values of the digest, such as the list of unused files.

    Returns:
        The digest. It changes if a sample, a file or a further value changes.
    """
    entries: list[object] = []
    for sample in samples:
        signature = [number for file in sample_files(sample, root) for number in _file_signature(file)]
        volume = [] if sample.volume is None else [_volume_signature(sample.volume)]
        entries.append(
            [sample.path, sample.label, sample.patient_id, sample.metadata, sample.published_splits, signature, *volume]
        )
    return digest([entries, [[path.name, *_file_signature(path)] for path in inputs], *unused])


def _volume_signature(volume: VolumeFiles) -> list[object]:
    """Return the file names and the stated spacing of a volume."""
    return [[file.name for file in volume.files], volume.spacing]


def _file_signature(path: Path) -> list[int]:
    """Return size in bytes and modification time in nanoseconds of a file; empty if there is no such file."""
    try:
        stat = path.stat()
    except OSError:  # a broken link, which decoding reports
        return []
    return [stat.st_size, stat.st_mtime_ns]
