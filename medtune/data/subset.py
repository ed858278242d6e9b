"""Subsets of the training and validation patients, to train with less data.

The subsets are stratified by class and nested: a smaller subset is contained in a larger one of the same seed.
"""

import math
from dataclasses import replace

import numpy as np

from medtune.data.manifest import PreparedDataset
from medtune.runtime.paths import TrainSubset


def subset_patients(prepared: PreparedDataset, test_fold: int, subset: TrainSubset) -> PreparedDataset:
    """Reduce the training patients of one test fold. The images of the other training patients become `unused`.

    With `subset.with_validation`, the validation patients are reduced to the same percentage, but to no more patients
    than the reduced training split has. The test patients do not change.

    Args:
        prepared: the complete set.
        test_fold: the fold whose training patients are reduced.
        subset: percentage and seed.

    Returns:
        The set with the reduced splits.
    """
    rows = prepared.indices(test_fold)
    splits = prepared.splits.copy()
    limit = None
    for split in ("train", "val") if subset.with_validation else ("train",):
        if not len(rows[split]):
            continue
        labels, patients = prepared.labels[rows[split]], prepared.patient_ids[rows[split]]
        selected = nested_subset(labels, patients, subset.percent, subset.seed, limit)
        splits[np.delete(rows[split], selected), test_fold] = "unused"
        limit = len(np.unique(patients[selected]))
    return replace(prepared, splits=splits)


def nested_subset(
    labels: np.ndarray, patient_ids: np.ndarray, percent: int, seed: int, limit: int | None = None
) -> np.ndarray:
    """Select the images of a percentage of the patients, with at least one patient per class.

    A smaller percentage selects a subset of the images of a larger one.

    Args:
        labels: (n,) class indices.
        patient_ids: (n,) patients.
        percent: percentage of the patients, 1 to 100. The number of patients is rounded up.
        seed: seed of the order in which patients are selected.
        limit: maximum number of patients; None: no limit. One patient per class is always selected.

    Returns:
        (m,) int64 indices of the selected images, ascending.
    """
    names, member = np.unique(patient_ids, return_inverse=True)
    counts = np.zeros((len(names), int(labels.max()) + 1))
    np.add.at(counts, (member, labels), 1)
    order, needed = _selection_order(counts, np.random.default_rng(seed))
    target = math.ceil(len(names) * percent / 100)
    n_selected = max(needed, target if limit is None else min(target, limit))
    return np.flatnonzero(np.isin(member, order[:n_selected]))


def _selection_order(counts: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Order the patients for selection.

    The order begins with one patient per class, the rarest class first. All other patients follow. The rarest class of
    a patient is the patient's stratum, and every stratum is spread evenly over the order. The first n patients
    therefore have about the same class fractions for every n.

    Args:
        counts: (patients, classes) number of images.
        rng: random generator.

    Returns:
        Indices of the patients in order, and the number of patients at the beginning that together have every class.
    """
    rarity = np.argsort(counts.sum(0), kind="stable")
    rank = np.empty_like(rarity)
    rank[rarity] = np.arange(len(rarity))
    stratum = np.where(counts > 0, rank, len(rank)).min(1)
    shuffled = rng.permutation(len(counts))
    first: list[int] = []
    for label in rarity:
        if counts[:, label].any() and not (first and counts[first, label].any()):
            first.append(next(patient for patient in shuffled.tolist() if counts[patient, label]))
    position = np.empty(len(counts))
    for value in np.unique(stratum):
        members = shuffled[stratum[shuffled] == value]
        position[members] = (np.arange(len(members)) + rng.random()) / len(members)
    later = np.argsort(position, kind="stable")
    rest = later[~np.isin(later, first)]
    return np.array([*first, *rest]), len(first)
