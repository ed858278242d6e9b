"""Check that train, validation and test of every fold contain every class."""

from collections.abc import Sequence

import numpy as np

from medtune.config.data import SplitParams
from medtune.config.errors import InputError, pluralize
from medtune.data.class_selection import MAX_CLASSES, list_names

SPLITS = ("train", "val", "test")
# Classes in a message.
_SHOWN = 5
# Maximum number of splits listed per class.
_MAX_SPLITS = 3


def check_classes(
    splits: np.ndarray,
    labels: np.ndarray,
    patient_ids: np.ndarray,
    classes: Sequence[str],
    params: SplitParams,
    source: str,
    min_classes: int,
) -> list[str]:
    """Find classes that are absent from a split of a fold.

    Args:
        splits: (n, folds) of train, val, test, unused.
        labels: (n,) class indices, or (n, classes + 1) bool from `medtune.data.findings.encode_labels`.
        patient_ids: (n,) patients; empty strings if the source has none.
        classes: names of the classes or findings.
        params: section `data.split` of params.yaml.
        source: name of the source, for error messages.
        min_classes: minimum number of classes in each training split.

    Returns:
        One sentence for each of the first `MAX_CLASSES` absent classes, and one sentence that counts the others.

    Raises:
        InputError: a split has no images, train has too few classes, or a class is absent and
            `allow_missing_classes` is false.
    """
    missing: dict[int, list[str]] = {}
    for test_fold in params.trained_folds:
        for split in SPLITS:
            present = _present(labels[splits[:, test_fold] == split])
            if len(present) < (min_classes if split == "train" else 1):
                only = f"only images of class {classes[present[0]]!r}" if len(present) else "no images"
                raise InputError(
                    f"{_setting(params)}: with test fold {test_fold}, the {split} split has {only}. "
                    f"{_refill(params, split)}"
                )
            # The index len(classes) means no finding.
            if split == "train" and labels.ndim > 1 and present[0] == len(classes):
                raise InputError(
                    f"{_setting(params)}: with test fold {test_fold}, the train split has no image with a finding. "
                    f"{_refill(params, split)}"
                )
            for label in sorted(set(range(len(classes))) - set(present)):
                missing.setdefault(label, []).append(f"{split} of test fold {test_fold}")
    known = bool(patient_ids[0])
    notes, sizes = [], {}
    for label, absent_from in missing.items():
        rows = labels == label if labels.ndim == 1 else labels[:, label]
        images, patients = int(rows.sum()), len(set(patient_ids[rows]))
        sizes[label] = patients if known else images
        counts = [pluralize(patients, "patient")] if known else []
        how_many = f" ({', '.join([*counts, pluralize(images, 'image')])})"
        more = f" and {len(absent_from) - _MAX_SPLITS} more" if len(absent_from) > _MAX_SPLITS else ""
        shown = ", ".join(absent_from[:_MAX_SPLITS]) + more
        what = "Class" if labels.ndim == 1 else "Finding"
        notes.append(f"{what} {classes[label]}{how_many} is absent from {shown}.")
    if notes and not params.allow_missing_classes:
        small = [classes[label] for label, count in sizes.items() if count < len(SPLITS)]
        fix = _enlarge(small, "patient" if known else "image", source) if small else _fewer_folds(params)
        raise InputError(f"{' '.join(_first(notes, _SHOWN))} {fix}")
    return _first(notes, MAX_CLASSES)


def _setting(params: SplitParams) -> str:
    """Return the setting to change, as `key=value`."""
    if params.protocol in ("patient", "image"):
        return f"data.split.folds={params.folds}"
    return f"data.split.protocol={params.protocol}"


def _refill(params: SplitParams, split: str) -> str:
    """Return the fix for a split without images or with too few classes."""
    if params.protocol == "column":
        return f"Assign more rows to {split} in the column"
    if params.protocol == "folders":
        return f"Put images of every class into the folder {split}"
    if params.protocol == "site":
        return "Test another site, or add images of other classes"
    unit = "patients" if params.protocol == "patient" else "images"
    return f"Use fewer folds, or add {unit} of other classes"


def _present(labels: np.ndarray) -> np.ndarray:
    """Return the indices of the classes that are present, ascending."""
    return np.unique(labels) if labels.ndim == 1 else np.flatnonzero(labels.any(0))


def _first(notes: list[str], limit: int) -> list[str]:
    """Return the first notes, and a sentence with the number of the others."""
    more = f"{len(notes) - limit:,} more classes are absent from a split."
    return [*notes[:limit], more] if len(notes) > limit else notes


def _fewer_folds(params: SplitParams) -> str:
    """Return the fix for absent classes that are large enough for train, val and test."""
    if params.protocol in ("folders", "column"):
        where = "The folders determine" if params.protocol == "folders" else "The column determines"
        return f"{where} the splits. Add images of the class, or accept it with data.split.allow_missing_classes=true"
    if params.protocol == "site":
        return (
            "A site without images of a class cannot test it. Test another site, or accept it with "
            "data.split.allow_missing_classes=true"
        )
    return (
        f"Protocol {params.protocol} with {params.folds} folds leaves a split without these images. Use fewer folds or "
        "another data.labels, or accept it with data.split.allow_missing_classes=true"
    )


def _enlarge(names: Sequence[str], unit: str, source: str) -> str:
    """Return the fix for classes that are too small for train, val and test."""
    single = len(names) == 1
    merge = f", merge {'it' if single else 'them'} with another class (data.label_map)" if source == "folder" else ""
    these = "this class" if single else "these classes"
    return (
        f"Train, val and test each need one {unit} of every class, three in total. Add {unit}s of "
        f"{list_names(names, _SHOWN)}, remove {these}{merge}, or accept it with data.split.allow_missing_classes=true"
    )
