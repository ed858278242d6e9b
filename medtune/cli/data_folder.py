"""Search for the data folder: the folder with images or volumes in a project folder."""

import shlex
from pathlib import Path

from medtune.cli import detect_masks, volume_layouts
from medtune.config.errors import InputError
from medtune.data.listing import find_files
from medtune.data.volume_cases import SUFFIXES as VOLUME_SUFFIXES
from medtune.serving.decode import SUFFIXES
from medtune.serving.slides.slide import SUFFIXES as SLIDE_SUFFIXES

# Names of project folders that never contain training images.
NOT_IMAGES = {"artifacts", "config", "docs", "models", "notebooks", "published", "recipes", "src", "tests", "wandb"}
USUAL_FOLDERS = ("data/raw", "images", "data")


def find_data_folder(folder: Path) -> Path | None:
    """Find the only folder of a project that contains images or volumes.

    Args:
        folder: project folder.

    Returns:
        The folder, or None if no folder contains images or volumes.

    Raises:
        InputError: several folders contain images, or the project folder itself is a data set with masks.
    """
    if not folder.is_dir():
        return None
    _refuse_volumes(folder)
    for name in USUAL_FOLDERS:
        if _contains_images(folder / name):
            return folder / name
    candidates = [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".") and path.name not in NOT_IMAGES and _contains_images(path)
    ]
    if len(candidates) > 1:
        names = ", ".join(path.name for path in candidates[:4])
        raise InputError(
            f"{folder}: {len(candidates)} folders contain images ({names}). If they are your classes, run "
            f"`medtune init NEW-FOLDER --data {folder}`. Otherwise name one of them in --data"
        )
    return candidates[0] if candidates else None


def _refuse_volumes(folder: Path) -> None:
    """Raise InputError if the project folder itself is a data set with masks."""
    files = [path for pattern in ("*.nii*", "*/*.nii*") for path in folder.glob(pattern)]
    names = [path.relative_to(folder).as_posix() for path in files if not path.name.startswith(".")]
    images = [
        path.relative_to(folder).as_posix()
        for path in folder.glob("*/*")
        if path.parent.name not in NOT_IMAGES and not path.name.startswith(".") and path.name.lower().endswith(SUFFIXES)
    ]
    if (
        volume_layouts.by_dataset_json(folder)
        or (names and volume_layouts.by_folders(folder, names))
        or detect_masks.by_folders(images)
    ):
        raise InputError(
            f"{folder}: this folder is a data set with masks, and results need another folder. Run "
            f"`medtune init NEW-FOLDER --data {shlex.quote(str(folder))}`"
        )


def _contains_images(folder: Path) -> bool:
    suffixes = (*SUFFIXES, *SLIDE_SUFFIXES, *VOLUME_SUFFIXES)
    return folder.is_dir() and (any(find_files(folder, suffixes)) or any(folder.glob("*.npz")))
