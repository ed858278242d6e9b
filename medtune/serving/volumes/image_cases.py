"""Images that `medtune predict` finds for a bundle (an exported model) that segments images."""

from collections.abc import Sequence
from pathlib import Path

from medtune.serving.folder_scan import scan_folder
from medtune.serving.manifest import BundleError
from medtune.serving.volumes.cases import Case, unique_cases
from medtune.serving.volumes.image_file import OUTPUT_SUFFIX, SUFFIXES


def find_image_cases(paths: Sequence[Path], out: Path) -> list[Case]:
    """List the images of files and folders.

    Args:
        paths: image files, and folders of them.
        out: folder of the results. If a folder in `paths` contains `out`, the files in `out` are not listed.

    Returns:
        The cases, which have different names. The cases of one folder are sorted.

    Raises:
        BundleError: a path does not exist, a folder has no images, or two cases have the same name.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += _images(path, out)
        elif path.exists():
            files.append(path)
        else:
            raise BundleError(f"{path} does not exist. Check the path")
    return unique_cases(Case(file.stem or file.name, (file,), OUTPUT_SUFFIX) for file in dict.fromkeys(files))


def _images(folder: Path, out: Path) -> list[Path]:
    """Return the images of a folder that are not in `out`."""
    try:
        names = scan_folder(folder, SUFFIXES).images
    except OSError as error:
        raise BundleError(f"{error.filename} cannot be read: {error.strerror}. Check the permissions") from None
    results, root = out.resolve(), folder.resolve()
    files = [folder / name for name in names]
    if results != root and results.is_relative_to(root):
        files = [file for file in files if not file.resolve().is_relative_to(results)]
    if not files:
        raise BundleError(f"no images under {folder}: looked for {' '.join(SUFFIXES)}. Use another path")
    return files
