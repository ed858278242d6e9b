"""A share of the training and validation patients: nested, stratified by class, the same for the same seed."""

import math
from dataclasses import replace

import numpy as np

from medtune.data.manifest import PreparedDataset
from medtune.runtime.paths import TrainSubset


def subset_patients(prepared: PreparedDataset, test_fold: int, subset: TrainSubset) -> PreparedDataset:
    """Return `prepared` with only a share of the training patients of one test fold; the others become `unused`.

    With `subset.with_validation`, the validation patients are reduced to the same share, and to at most as many
    patients as are left for training. The test patients stay as they are.

    Args:
        prepared: the whole set.
        test_fold: the fold whose training patients are reduced.
        subset: which share.
    """
    rows = prepared.indices(test_fold)
    splits = prepared.splits.copy()
    limit = None
    for role in ("train", "val") if subset.with_validation else ("train",):
        if not len(rows[role]):
            continue
        labels, patients = prepared.labels[rows[role]], prepared.patient_ids[rows[role]]
        selected = nested_subset(labels, patients, subset.percent, subset.seed, limit)
        splits[np.delete(rows[role], selected), test_fold] = "unused"
        limit = len(np.unique(patients[selected]))
    return replace(prepared, splits=splits)


def nested_subset(
    labels: np.ndarray, patient_ids: np.ndarray, percent: int, seed: int, limit: int | None = None
) -> np.ndarray:
    """Sorted positions of the images whose patient is in the share; a smaller percent gives a subset.

    At least one patient for each class is taken, however small the share.

    Args:
        labels: (n,) class indices.
        patient_ids: (n,) patients.
        percent: 1 to 100, of the patients, rounded up.
        seed: of the order in which patients are taken.
        limit: largest number of patients, unless one for each class are more; None: no limit.
    """
    names, member = np.unique(patient_ids, return_inverse=True)
    counts = np.zeros((len(names), int(labels.max()) + 1))
    np.add.at(counts, (member, labels), 1)
    order, needed = _selection_order(counts, np.random.default_rng(seed))
    wanted = math.ceil(len(names) * percent / 100)
    taken = max(needed, wanted if limit is None else min(wanted, limit))
    return np.flatnonzero(np.isin(member, order[:taken]))


def _selection_order(counts: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Patients in the order they are taken, and how many of them it takes to have every class.

    First one patient for each class, rarest class first; then each stratum (patients whose rarest class is the same)
    is spread evenly over the order, so that every beginning of it has the classes in about the same shares.
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
