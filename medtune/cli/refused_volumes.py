"""Error messages of `medtune init` about folders of volumes that it cannot use."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from medtune.cli import volume_layouts
from medtune.config.errors import InputError
from medtune.data.class_selection import list_names
from medtune.data.dataset_json import FILE
from medtune.data.volume_cases import SUFFIXES
from medtune.serving.folder_scan import FolderContent

_SHOWN = 6


def require_volumes(root: Path, layout: volume_layouts.Layout, content: FolderContent) -> None:
    """Raise InputError if dataset.json describes NIfTI files, but the folder contains none.

    Args:
        root: data root.
        layout: the layout that dataset.json states.
        content: NIfTI files as `images`, and other files.

    Raises:
        InputError: there are no NIfTI files. The message states the number of files of other types.
    """
    source = layout.settings["data.source"]
    if content.images or source == "nnunet":  # the source `nnunet` raises a more specific error later
        return
    suffixes = Counter(PurePosixPath(path).suffix.lower() or "without suffix" for path in content.others)
    found = ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes.most_common(3))
    raise InputError(
        f"{root}: {FILE} has the layout of {source}, but there are no NIfTI files "
        f"({', '.join(SUFFIXES)}). Found files: {found}. Copy the volumes to this folder"
    )


def refuse_several(root: Path) -> None:
    """Raise InputError if several folders in `root` are data sets with dataset.json, as in nnUNet_raw."""
    found = [file.parent for file in sorted(root.glob(f"*/{FILE}")) if volume_layouts.by_dataset_json(file.parent)]
    if len(found) > 1:
        names = list_names([folder.name for folder in found], _SHOWN)
        raise InputError(
            f"{root}: {len(found)} data sets: {names}. Use one of them: --data {shlex.quote(str(found[0]))}"
        )


def describe_no_masks(root: Path, files: Sequence[str], results: Sequence[str]) -> str:
    """Return an error message about a folder of volumes without masks.

    Args:
        root: data root.
        files: NIfTI files, relative to `root`.
        results: tables of `medtune predict`, whose label maps are not used.

    Returns:
        The problem and its fix in one line.
    """
    folder = volume_layouts.single_folder(files)
    if folder and ((root / folder / FILE).is_file() or "/" in files[0].partition("/")[2]):
        return f"{root}: all volumes are in {folder}. Use --data {shlex.quote(str(root / folder))}"
    predicted = f" ({results[0]} lists label maps of `medtune predict`, which are not used)" if results else ""
    return (
        f"{root}: {len(files):,} NIfTI files, but no masks that belong to them{predicted}. Add a table with the "
        "columns path,mask,patient, or two folders, images and masks, whose files have equal names, or "
        f"a {FILE} in the format of nnU-Net or the Decathlon"
    )
