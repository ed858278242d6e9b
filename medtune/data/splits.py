"""Assignment of images to train, validation and test of each fold, by a named protocol (docs/protocols.md)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medtune.config.data import SplitParams
from medtune.config.errors import InputError
from medtune.data.class_selection import list_names
from medtune.data.findings import check_counts, encode_labels
from medtune.data.fold_assignments import FoldAssignments
from medtune.data.folds import SEED, grouped_stratified_folds
from medtune.data.sample import Sample
from medtune.data.sites import order_sites
from medtune.data.split_checks import SPLITS, check_classes
from medtune.data.split_column import check_patients

_SHOWN = 5
# Array type of split names: train, val, test, external, unused.
SPLIT_DTYPE = "<U8"


@dataclass(frozen=True)
class SplitResult:
    """Splits of a data set.

    Attributes:
        folds: (n,) int64 fold of each image. With published splits, -1 if no fold or several
            folds test the image.
        splits: (n, folds) of train, val, test, external, unused; column k is the split with test fold k.
        leaked_patients: sorted patients with images in more than one split of any trained fold.
        notes: warnings for readers of the metrics, one sentence each.
        sites: site of each test fold, for protocol site.
    """

    folds: np.ndarray
    splits: np.ndarray
    leaked_patients: tuple[str, ...]
    notes: tuple[str, ...]
    sites: tuple[str, ...] = ()


def split_samples(
    samples: Sequence[Sample],
    classes: Sequence[str],
    params: SplitParams,
    source: str,
    assigned: FoldAssignments | None = None,
    min_classes: int = 2,
) -> SplitResult:
    """Split the samples by `params.protocol` and check the result.

    Args:
        samples: all images, in the order of the source.
        classes: class names in index order.
        params: section data.split.
        source: name of the source, for error messages.
        assigned: folds of an earlier assignment, which protocol patient preserves.
        min_classes: minimum number of classes, in total and in each training split.

    Returns:
        The splits.

    Raises:
        InputError: the source lacks information that the protocol needs, a class is empty, there are too few patients
            or images, or a class is absent from a split (unless `allow_missing_classes`).
    """
    labels = encode_labels(samples, classes)
    if labels.ndim > 1:
        check_counts(labels, classes)
    counts = np.bincount(labels, minlength=len(classes)) if labels.ndim == 1 else labels[:, : len(classes)].sum(0)
    if empty := [name for name, count in zip(classes, counts, strict=True) if not count]:
        raise InputError(
            f"no images of class {list_names(empty)} in source {source}; found {_class_counts(classes, counts)}"
        )
    if len(classes) < min_classes:
        raise InputError(f"source {source} has one class, {classes[0]}; at least two are needed{_inside(samples)}")
    sites: list[str] = []
    if params.protocol == "site":
        sites = order_sites(samples, params, source)
        folds, splits, notes = _site(samples, labels, sites, source)
    elif params.protocol == "patient":
        folds, splits, notes = _patient(samples, labels, params, source, assigned)
    else:
        protocol = {"image": _image, "hcrf-1-1-2": _hcrf}.get(params.protocol, _official)
        folds, splits, notes = protocol(samples, labels, params, source)
    patient_ids = np.array([sample.patient_id or "" for sample in samples])
    notes += check_classes(splits, labels, patient_ids, classes, params, source, min_classes)
    leaked = _leaked_patients(splits, patient_ids, params.trained_folds)
    if leaked:
        notes.append(
            f"LEAK: {len(leaked)} of {len(set(patient_ids))} patients have images in more than one of train, "
            f"validation and test (protocol {params.protocol}): the scores do not estimate the performance on new "
            "patients."
        )
    if samples[0].patient_id is None:
        notes.append("The source has no patient ids: a patient may be in both train and test.")
    return SplitResult(folds, splits, leaked, tuple(notes), tuple(sites))


def _inside(samples: Sequence[Sample]) -> str:
    """Return a hint if the class folders are one level deeper, otherwise an empty string."""
    folders = {tuple(sample.path.split("/")[:2]) for sample in samples if sample.path.count("/") > 1}
    if len({top for top, _ in folders}) != 1 or len(folders) < 2:
        return ""
    names = ", ".join(sorted(name for _, name in folders)[:_SHOWN])
    return f". If its folders ({names}) are the classes, set data.root to the folder {min(folders)[0]}"


def splits_by_fold(folds: np.ndarray, params: SplitParams) -> np.ndarray:
    """Return (n, folds) splits: column k tests fold k, validates on another fold and trains on the rest."""
    splits = np.full((len(folds), params.folds), "train", SPLIT_DTYPE)
    for fold in range(params.folds):
        val = params.val_fold_for(fold)
        splits[folds == ((fold - 1) % params.folds if val == fold else val), fold] = "val"
        splits[folds == fold, fold] = "test"
    return splits


_ProtocolResult = tuple[np.ndarray, np.ndarray, list[str]]


NAME_PATIENTS = "Name the patients in a column of data.csv (data.columns.patient) or by data.patient_pattern, "
GROUP_COLUMN = {"folder": NAME_PATIENTS, "slides": NAME_PATIENTS}


def _patient(
    samples: Sequence[Sample], labels: np.ndarray, params: SplitParams, source: str, assigned: FoldAssignments | None
) -> _ProtocolResult:
    if any(sample.patient_id is None for sample in samples):
        others = "image or official" if samples[0].published_splits else "image"
        better = GROUP_COLUMN.get(source, "")
        raise InputError(
            f"data.split.protocol=patient: the data have no patient ids. {better}"
            f"{'or use' if better else 'Use'} {others}; a patient can then be in both train and test"
        )
    patient_ids = np.array([sample.patient_id for sample in samples])
    if (n_patients := len(np.unique(patient_ids))) < params.folds:
        raise InputError(
            f"data.split.folds={params.folds}: source {source} has only {n_patients} patients. Use fewer folds, "
            "or add patients"
        )
    folds = grouped_stratified_folds(
        labels, patient_ids, params.folds, assigned.lookup(patient_ids.tolist()) if assigned else None
    )
    return folds, splits_by_fold(folds, params), []


def _image(samples: Sequence[Sample], labels: np.ndarray, params: SplitParams, source: str) -> _ProtocolResult:
    folds = _stratified(labels, params.folds, source)
    return folds, splits_by_fold(folds, params), []


def _hcrf(samples: Sequence[Sample], labels: np.ndarray, params: SplitParams, source: str) -> _ProtocolResult:
    folds = _stratified(labels, params.folds, source)
    splits = splits_by_fold(folds, params)
    for test_fold in range(params.folds):
        val = folds[splits[:, test_fold] == "val"][0]
        second = next(fold for step in (1, 2) if (fold := (test_fold + step) % params.folds) != val)
        splits[folds == second, test_fold] = "test"
    return folds, splits, ["Trained on a quarter of the images, tested on half (protocol hcrf-1-1-2)."]


def _official(samples: Sequence[Sample], labels: np.ndarray, params: SplitParams, source: str) -> _ProtocolResult:
    by_folder, by_column = params.protocol == "folders", params.protocol == "column"
    if by_folder and source not in ("folder", "slides"):
        raise InputError(
            f"data.split.protocol=folders: source {source} does not use folders train, val and test. Choose another "
            "protocol"
        )
    if by_column and any(sample.published_splits is None for sample in samples):
        raise InputError("data.split.protocol=column: no table lists the images. Set data.source=folder and data.csv")
    if by_column:
        check_patients(samples)
    if any(sample.published_splits is None for sample in samples):
        raise InputError(
            f"data.split.protocol={params.protocol}: source {source} has no published split here. Choose another "
            "protocol"
        )
    splits = np.array([sample.published_splits for sample in samples], SPLIT_DTYPE)
    if splits.shape[1] == 1:
        if len(params.test_folds) > 1:
            raise InputError("data.split.test_fold=all: only one split is published. Set it to 0.")
        splits = np.repeat(splits, params.folds, axis=1)
    if splits.shape[1] != params.folds:
        raise InputError(
            f"data.split.folds={params.folds}: {splits.shape[1]} folds are published. Use "
            f"data.split.folds={splits.shape[1]}"
        )
    notes = []
    if by_folder:
        notes.append("Split by the folders (protocol folders): scores refer to the images in the test folder.")
    if by_column:
        notes.append("Split by a column of the table (protocol column): scores refer to rows whose value is test.")
    if external := int((splits[:, 0] == "external").sum()):
        notes.append(
            f"{external:,} images are external: not used for model selection, and scored separately from the test "
            "images."
        )
    if not (splits == "val").any():
        where = "There is no validation folder" if by_folder else "The published folds have no validation split"
        where = "No row has the value val" if by_column else where
        given = by_folder or by_column
        how = f", by {'image' if samples[0].patient_id is None else 'patient'}" if given else ""
        notes.append(f"{where}: a fifth of each training split is used for validation{how}.")
        for test_fold in range(params.folds):
            rows = np.flatnonzero(splits[:, test_fold] == "train")
            splits[
                rows[_hold_out_validation(labels[rows], [samples[row] for row in rows.tolist()], source)], test_fold
            ] = "val"
    tested = splits == "test"
    folds = np.where(tested.sum(1) == 1, tested.argmax(1), -1).astype(np.int64)
    if (left_out := int((splits == "unused").all(1).sum())) > 0:
        notes.append(f"{left_out} images are in none of the published folds.")
    return folds, splits, notes


def _site(samples: Sequence[Sample], labels: np.ndarray, sites: Sequence[str], source: str) -> _ProtocolResult:
    number = {site: fold for fold, site in enumerate(sites)}
    folds = np.array([number[sample.site or ""] for sample in samples], np.int64)
    splits = np.full((len(folds), len(sites)), "train", SPLIT_DTYPE)
    for fold in range(len(sites)):
        rows = np.flatnonzero(folds != fold)
        held_out = _hold_out_validation(labels[rows], [samples[row] for row in rows.tolist()], source)
        splits[rows[held_out], fold] = "val"
        splits[folds == fold, fold] = "test"
    tested = ", ".join(f"{fold} {site}" for fold, site in enumerate(sites))
    how = "image" if samples[0].patient_id is None else "patient"
    return (
        folds,
        splits,
        [
            f"Leave one site out: test folds are {tested}. A fifth of the images of the other sites, split by {how}, "
            "is used for validation."
        ],
    )


def _hold_out_validation(labels: np.ndarray, samples: Sequence[Sample], source: str) -> np.ndarray:
    """Split the images into five folds by patient and select the fold that shares the most classes with the others.

    If several folds share as many classes, the first one is selected.

    Args:
        labels: (n,) class indices, or (n, classes + 1) bool.
        samples: the n images of a training split.
        source: name of the source, for error messages.

    Returns:
        (n,) bool, True for validation images.

    Raises:
        InputError: there are fewer than five patients, or fewer than five images per class.
    """
    if labels.ndim == 1:
        _, labels = np.unique(labels, return_inverse=True)
    if any(sample.patient_id is None for sample in samples):
        if (most := int(_images_per_class(labels).max())) < 5:
            raise InputError(
                f"source {source}: a training split has at most {most} images per class; 5 are needed for validation. "
                "Add images"
            )
        folds = _stratified(labels, 5, source)
    else:
        patient_ids = np.array([sample.patient_id for sample in samples])
        if (n_patients := len(np.unique(patient_ids))) < 5:
            raise InputError(
                f"source {source}: a training split has {n_patients} patients; 5 are needed for validation. Add "
                "patients"
            )
        folds = grouped_stratified_folds(labels, patient_ids, 5)
    if labels.ndim == 1:
        shared = [len(np.intersect1d(labels[folds == fold], labels[folds != fold])) for fold in range(5)]
    else:
        shared = [int((labels[folds == fold].any(0) & labels[folds != fold].any(0)).sum()) for fold in range(5)]
    validation: np.ndarray = folds == int(np.argmax(shared))
    return validation


def _images_per_class(labels: np.ndarray) -> np.ndarray:
    counts: np.ndarray = np.bincount(labels) if labels.ndim == 1 else labels.sum(0)
    return counts


def _stratified(labels: np.ndarray, folds: int, source: str) -> np.ndarray:
    import warnings

    from sklearn.model_selection import StratifiedKFold

    if _images_per_class(labels).max() < folds:
        raise InputError(
            f"data.split.folds={folds}: every class of source {source} has fewer than {folds} images. Use fewer folds"
        )
    if labels.ndim > 1:  # scikit-learn stratifies by one class only
        return grouped_stratified_folds(labels, np.arange(len(labels)), folds)
    assigned = np.empty(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes with fewer images than folds are checked later
        for fold, (_, test) in enumerate(StratifiedKFold(folds, shuffle=True, random_state=SEED).split(labels, labels)):
            assigned[test] = fold
    return assigned


def _leaked_patients(splits: np.ndarray, patient_ids: np.ndarray, test_folds: Sequence[int]) -> tuple[str, ...]:
    leaked: set[str] = set()
    for fold in test_folds:
        train, val, test = (set(patient_ids[splits[:, fold] == split]) for split in SPLITS)
        leaked |= (train & val) | (train & test) | (val & test)
    return tuple(sorted(leaked - {""}))


def _class_counts(classes: Sequence[str], counts: np.ndarray) -> str:
    return list_names([f"{name} {count}" for name, count in zip(classes, counts, strict=True)])
