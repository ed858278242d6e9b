"""Check that train, validation and test of every fold contain every class."""

from collections.abc import Sequence

import numpy as np

from medtune.config.data import SplitParams
from medtune.config.errors import InputError
from medtune.data.class_selection import MAX_CLASSES, list_names

SPLITS = ("train", "val", "test")
_SHOWN = 5
# Parts of folds that are named per class.
_PLACES = 3


def check_classes(
    splits: np.ndarray,
    labels: np.ndarray,
    patient_ids: np.ndarray,
    classes: Sequence[str],
    params: SplitParams,
    source: str,
    min_classes: int,
) -> list[str]:
    """Find classes that a part of a fold lacks.

    Args:
        splits: (n, folds) of train, val, test, unused.
        labels: (n,) class indices, or (n, classes + 1) as `medtune.data.findings.members` gives them.
        patient_ids: (n,) patients; empty strings if the source has none.
        classes: class names.
        params: section data.split.
        source: the source's name, for error messages.
        min_classes: fewest classes that the task needs in each training split.

    Returns:
        One sentence per absent class, and one for those after the first `MAX_CLASSES`.

    Raises:
        InputError: a split has no images, the training split has too few classes, or a class is missing and
            `allow_missing_classes` is false.
    """
    missing: dict[int, list[str]] = {}
    for test_fold in params.trained_folds:
        for split in SPLITS:
            present = _present(labels[splits[:, test_fold] == split])
            if len(present) < (min_classes if split == "train" else 1):
                only = f"only class {classes[present[0]]}" if len(present) else "no images"
                raise InputError(
                    f"data.split.protocol={params.protocol}: test fold {test_fold}: {split} has {only}. "
                    f"{_refill(params, split)}"
                )
            if split == "train" and labels.ndim > 1 and present[0] == len(classes):
                raise InputError(
                    f"protocol {params.protocol}, test fold {test_fold}: train has no image with a finding"
                )
            for label in sorted(set(range(len(classes))) - set(present)):
                missing.setdefault(label, []).append(f"{split} of test fold {test_fold}")
    known = bool(patient_ids[0])
    notes, units = [], {}
    for label, places in missing.items():
        rows = labels == label if labels.ndim == 1 else labels[:, label]
        images, groups = int(rows.sum()), len(set(patient_ids[rows]))
        units[label] = groups if known else images
        how_many = f" ({groups} groups, {images} images)" if known else f" ({images} images)"
        shown = ", ".join(places[:_PLACES]) + (f" and {len(places) - _PLACES} more" if len(places) > _PLACES else "")
        what = "Class" if labels.ndim == 1 else "Finding"
        notes.append(f"{what} {classes[label]}{how_many} is absent from {shown}.")
    if notes and not params.allow_missing_classes:
        small = [classes[label] for label, count in units.items() if count < len(SPLITS)]
        fix = _enlarge(small, "group" if known else "image", source) if small else _fewer_folds(params)
        raise InputError(f"{' '.join(_first(notes, _SHOWN))} {fix}")
    return _first(notes, MAX_CLASSES)


def _refill(params: SplitParams, split: str) -> str:
    if params.protocol == "column":
        return f"Write {split} into the column of more rows"
    if params.protocol == "folders":
        return f"Put images of every class into the folder {split}"
    return "Test another site, or add images" if params.protocol == "site" else "Use fewer folds, or add images"


def _present(labels: np.ndarray) -> np.ndarray:
    """Indices of the classes that are there, ascending."""
    return np.unique(labels) if labels.ndim == 1 else np.flatnonzero(labels.any(0))


def _first(notes: list[str], limit: int) -> list[str]:
    more = f"{len(notes) - limit:,} more classes are absent from a part of a fold."
    return [*notes[:limit], more] if len(notes) > limit else notes


def _fewer_folds(params: SplitParams) -> str:
    if params.protocol in ("folders", "column"):
        where = "The folders decide" if params.protocol == "folders" else "The column decides"
        return f"{where}: put images of it there, or accept it with data.split.allow_missing_classes=true"
    if params.protocol == "site":
        return (
            "A site without images of a class cannot be tested for it: test another site, or accept it with "
            "data.split.allow_missing_classes=true"
        )
    return (
        f"Protocol {params.protocol} cannot share it among {params.folds} folds: use fewer folds or another "
        "data.labels, or accept it with data.split.allow_missing_classes=true"
    )


def _enlarge(names: Sequence[str], unit: str, source: str) -> str:
    """Fix for classes that no number of folds can share."""
    one = len(names) == 1
    merge = f", merge {'it' if one else 'them'} with another class (data.label_map)" if source == "folder" else ""
    these = "this class" if one else "these classes"
    return (
        f"Train, val and test need one {unit} of a class each, three in all. Add {unit}s of "
        f"{list_names(names, _SHOWN)}, remove {these}{merge}, or accept it with data.split.allow_missing_classes=true"
    )
