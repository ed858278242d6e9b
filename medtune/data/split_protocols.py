"""Protocols of `data.split.protocol`. A protocol assigns images to folds, and in each fold to train, val or test."""

from collections.abc import Sequence

import numpy as np

from medtune.config.data import SplitParams
from medtune.config.errors import InputError
from medtune.data.fold_assignments import FoldAssignments
from medtune.data.folds import grouped_stratified_folds
from medtune.data.sample import Sample
from medtune.data.split_column import check_patients
from medtune.data.validation_split import hold_out_validation, stratified_folds

# dtype of the split names train, val, test, external and unused.
SPLIT_DTYPE = "<U8"
# Folds (n,), splits (n, folds) and notes, as in `medtune.data.splits.SplitResult`.
ProtocolResult = tuple[np.ndarray, np.ndarray, list[str]]
NAME_PATIENTS = "Set data.columns.patient (a column of data.csv) or data.patient_pattern. "
PATIENT_COLUMN_HINT = {"folder": NAME_PATIENTS, "slides": NAME_PATIENTS}


def splits_by_fold(folds: np.ndarray, params: SplitParams) -> np.ndarray:
    """Return the splits (n, folds).

    Column k describes the network that is tested on fold k. One other fold is its validation split, and the remaining
    folds are its training split.
    """
    splits = np.full((len(folds), params.folds), "train", SPLIT_DTYPE)
    for fold in range(params.folds):
        val = params.val_fold_for(fold)
        splits[folds == ((fold - 1) % params.folds if val == fold else val), fold] = "val"
        splits[folds == fold, fold] = "test"
    return splits


def split_by_patient(
    samples: Sequence[Sample], labels: np.ndarray, params: SplitParams, source: str, assigned: FoldAssignments | None
) -> ProtocolResult:
    """Assign patients to folds with balanced classes. Patients in `assigned` keep their fold."""
    if any(sample.patient_id is None for sample in samples):
        others = "image or official" if samples[0].published_splits else "image"
        better = PATIENT_COLUMN_HINT.get(source, "")
        raise InputError(
            f"data.split.protocol=patient: the data have no patient ids. {better}"
            f"{'Or set' if better else 'Set'} data.split.protocol={others}; images of one patient can then be in both "
            "the training set and the test set"
        )
    patient_ids = np.array([sample.patient_id for sample in samples])
    if (n_patients := len(np.unique(patient_ids))) < params.folds:
        raise InputError(
            f"data.split.folds={params.folds}: the data (data.source={source}) have only {n_patients} patients. Set "
            "data.split.folds to a smaller number, or add patients"
        )
    folds = grouped_stratified_folds(
        labels, patient_ids, params.folds, assigned.lookup(patient_ids.tolist()) if assigned else None
    )
    return folds, splits_by_fold(folds, params), []


def split_by_image(samples: Sequence[Sample], labels: np.ndarray, params: SplitParams, source: str) -> ProtocolResult:
    """Assign images to folds with balanced classes. Images of one patient can be in several folds."""
    folds = stratified_folds(labels, params.folds, source)
    return folds, splits_by_fold(folds, params), []


def hcrf_split(samples: Sequence[Sample], labels: np.ndarray, params: SplitParams, source: str) -> ProtocolResult:
    """Assign images to four folds with balanced classes: one for training, one for validation and two for test."""
    folds = stratified_folds(labels, params.folds, source)
    splits = splits_by_fold(folds, params)
    for test_fold in range(params.folds):
        val = folds[splits[:, test_fold] == "val"][0]
        second = next(fold for step in (1, 2) if (fold := (test_fold + step) % params.folds) != val)
        splits[folds == second, test_fold] = "test"
    return folds, splits, ["Trained on a quarter of the images, tested on half (protocol hcrf-1-1-2)."]


def published_split(samples: Sequence[Sample], labels: np.ndarray, params: SplitParams, source: str) -> ProtocolResult:
    """Use the splits that the source, the split folders or a column of the table defines."""
    by_folder, by_column = params.protocol == "folders", params.protocol == "column"
    if by_folder and source not in ("folder", "slides"):
        raise InputError(
            f"data.split.protocol=folders: data.source={source} has no folders train, val and test. Set "
            "data.split.protocol to another value"
        )
    if by_column and any(sample.published_splits is None for sample in samples):
        raise InputError(
            "data.split.protocol=column: the images have no split from a table. Set data.source=folder and data.csv"
        )
    if by_column:
        check_patients(samples)
    if any(sample.published_splits is None for sample in samples):
        raise InputError(
            f"data.split.protocol={params.protocol}: the data (data.source={source}) have no published split. Set "
            "data.split.protocol to another value"
        )
    splits = np.array([sample.published_splits for sample in samples], SPLIT_DTYPE)
    if splits.shape[1] == 1:
        if len(params.test_folds) > 1:
            raise InputError("data.split.test_fold=all: the data define only one split. Set data.split.test_fold=0")
        splits = np.repeat(splits, params.folds, axis=1)
    if splits.shape[1] != params.folds:
        raise InputError(
            f"data.split.folds={params.folds}: the data define {splits.shape[1]} folds. Set "
            f"data.split.folds={splits.shape[1]}"
        )
    notes = []
    if by_folder:
        notes.append("Split by the folders (protocol folders): test metrics refer to the images in the test folder.")
    if by_column:
        notes.append(
            "Split by a column of the table (protocol column): test metrics refer to the rows with the value test in "
            "this column."
        )
    if external := int((splits[:, 0] == "external").sum()):
        notes.append(
            f"{external:,} images are external. They are not used for model selection, and their metrics are reported "
            "separately."
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
                rows[hold_out_validation(labels[rows], [samples[row] for row in rows.tolist()], source)], test_fold
            ] = "val"
    tested = splits == "test"
    # The fold of an image is the only fold that tests it; -1 if there is no such fold or several.
    folds = np.where(tested.sum(1) == 1, tested.argmax(1), -1).astype(np.int64)
    if (left_out := int((splits == "unused").all(1).sum())) > 0:
        notes.append(f"{left_out} images are in none of the published folds.")
    return folds, splits, notes


def split_by_site(samples: Sequence[Sample], labels: np.ndarray, sites: Sequence[str], source: str) -> ProtocolResult:
    """Test each site with a network that is trained on the other sites. `sites` is in the order of the test folds."""
    number = {site: fold for fold, site in enumerate(sites)}
    folds = np.array([number[sample.site or ""] for sample in samples], np.int64)
    splits = np.full((len(folds), len(sites)), "train", SPLIT_DTYPE)
    for fold in range(len(sites)):
        rows = np.flatnonzero(folds != fold)
        held_out = hold_out_validation(labels[rows], [samples[row] for row in rows.tolist()], source)
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
