"""Deals groups into folds so that every class is shared out evenly."""

from collections.abc import Mapping

import numpy as np

# The split belongs to the data, not to a training run: `params.seed` does not move it.
SEED = 1
_MAX_ATTEMPTS = 64
_MAX_STEPS = 20_000


def grouped_stratified_folds(
    labels: np.ndarray, patient_ids: np.ndarray, n_folds: int, assigned: Mapping[str, int] | None = None
) -> np.ndarray:
    """The fold of each image, (n,) int64 in 0 to folds - 1; no group is in two folds.

    Groups are dealt greedily, those that hold most of a class first, each to the fold that has least of what it
    holds (after Stratified Group K-Fold, scikit-learn). Of several orders the best deal is kept: fewest classes
    absent from a fold, then evenest shares. Folds that lack a class come first: with the usual chain (test fold 1,
    validation fold 0) a class of few groups is then at least in train. Depends on the arguments only.

    Groups in `assigned` stay in their fold, and the others are dealt around them; folds are then not renumbered.

    Args:
        labels: (n,) class indices, or (n, classes) bool where an image may be of several.
        patient_ids: (n,) group names; a group may hold several classes.
        n_folds: number of folds; no more than there are groups.
        assigned: fold of groups that were dealt before, by name; may name groups that are not here.
    """
    names, patient_index = np.unique(patient_ids, return_inverse=True)
    fixed = np.array([(assigned or {}).get(str(name), -1) for name in names])
    if labels.ndim == 1:
        counts = np.zeros((len(names), int(labels.max()) + 1))
        np.add.at(counts, (patient_index, labels), 1)
    else:
        counts = np.zeros((len(names), labels.shape[1]))
        np.add.at(counts, patient_index, labels)
    counts = counts[:, counts.sum(0) > 0]
    images = np.bincount(patient_index)
    # Shares of each class, and, as a last column, of all images: folds of even size count as a class of its own.
    shares = np.column_stack([counts / counts.sum(0), images / images.sum()])
    best: tuple[tuple[int, float], np.ndarray] | None = None
    for attempt in range(max(1, min(_MAX_ATTEMPTS, _MAX_STEPS // len(names)))):
        fold_of_patient, shares_per_fold = _assign_greedily(
            shares, n_folds, fixed, np.random.default_rng(SEED + attempt)
        )
        lacking = (shares_per_fold[:, :-1] == 0).sum(1)
        score = (int(lacking.sum()), float(((shares_per_fold - 1 / n_folds) ** 2).sum()))
        if best is None or score < best[0]:
            number = np.arange(n_folds) if (fixed >= 0).any() else np.argsort(np.argsort(-lacking, kind="stable"))
            best = (score, number[fold_of_patient])
    assert best is not None
    return best[1][patient_index]


def _assign_greedily(
    shares: np.ndarray, n_folds: int, fixed: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(len(shares))
    order = order[np.argsort(-shares[order, :-1].max(1), kind="stable")]
    shares_per_fold = np.zeros((n_folds, shares.shape[1]))
    fold_of_patient = fixed.copy()
    np.add.at(shares_per_fold, fixed[fixed >= 0], shares[fixed >= 0])
    for patient in order[fixed[order] < 0]:
        # The sum of squared shares grows by 2 * held @ share + constant: least where this product is least.
        cost = shares_per_fold @ shares[patient]
        fold = int(np.lexsort((shares_per_fold[:, -1], cost.round(12)))[0])
        fold_of_patient[patient] = fold
        shares_per_fold[fold] += shares[patient]
    return fold_of_patient, shares_per_fold
