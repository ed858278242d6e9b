"""Assignment of patients to folds with balanced class proportions (stratified group k-fold)."""

from collections.abc import Mapping

import numpy as np

# The split belongs to the data, not to a training run, so it does not depend on `params.seed`.
SEED = 1
_MAX_ATTEMPTS = 64
_MAX_STEPS = 20_000


def grouped_stratified_folds(
    labels: np.ndarray, patient_ids: np.ndarray, n_folds: int, assigned: Mapping[str, int] | None = None
) -> np.ndarray:
    """Assign patients to folds with balanced class proportions (stratified group k-fold).

    The assignment is greedy, as in scikit-learn's StratifiedGroupKFold. Patients with the largest fraction of the
    images of a class come first. Each patient is assigned to the fold that has the smallest fractions of the patient's
    classes. Patients with equal fractions are in random order, and several orders are tried. The selected assignment
    has the fewest classes absent from a fold, and among these the most even fractions.

    Folds that lack a class get the lowest numbers. With the default (test fold 1, validation fold 0), a class of few
    patients is then at least in train. The result depends on the arguments only.

    Patients in `assigned` keep their fold, and folds are then not renumbered.

    Args:
        labels: (n,) class indices, or (n, classes) bool if an image can have several classes.
        patient_ids: (n,) patient per image; a patient can have several classes.
        n_folds: number of folds, at most the number of patients.
        assigned: fold by patient of an earlier assignment. Patients without images in this set are ignored.

    Returns:
        (n,) int64 fold per image, 0 to n_folds - 1. No patient is in two folds.
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
    # The patient's fraction of the images of each class. The last column is the fraction of all images, so that the
    # sizes of the folds are balanced like a class.
    fractions = np.column_stack([counts / counts.sum(0), images / images.sum()])
    best: tuple[tuple[int, float], np.ndarray] | None = None
    for attempt in range(max(1, min(_MAX_ATTEMPTS, _MAX_STEPS // len(names)))):
        fold_of_patient, fractions_per_fold = _assign_greedily(
            fractions, n_folds, fixed, np.random.default_rng(SEED + attempt)
        )
        lacking = (fractions_per_fold[:, :-1] == 0).sum(1)
        score = (int(lacking.sum()), float(((fractions_per_fold - 1 / n_folds) ** 2).sum()))
        if best is None or score < best[0]:
            number = np.arange(n_folds) if (fixed >= 0).any() else np.argsort(np.argsort(-lacking, kind="stable"))
            best = (score, number[fold_of_patient])
    assert best is not None
    return best[1][patient_index]


def _assign_greedily(
    fractions: np.ndarray, n_folds: int, fixed: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(len(fractions))
    order = order[np.argsort(-fractions[order, :-1].max(1), kind="stable")]
    fractions_per_fold = np.zeros((n_folds, fractions.shape[1]))
    fold_of_patient = fixed.copy()
    np.add.at(fractions_per_fold, fixed[fixed >= 0], fractions[fixed >= 0])
    for patient in order[fixed[order] < 0]:
        # Adding a patient to a fold increases the sum of squared fractions by 2 * cost + constant.
        cost = fractions_per_fold @ fractions[patient]
        fold = int(np.lexsort((fractions_per_fold[:, -1], cost.round(12)))[0])
        fold_of_patient[patient] = fold
        fractions_per_fold[fold] += fractions[patient]
    return fold_of_patient, fractions_per_fold
