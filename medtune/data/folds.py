"""Assignment of patients to folds, with balanced classes in each fold (stratified group k-fold)."""

from collections.abc import Mapping

import numpy as np

# The split belongs to the data, not to a training run, so it does not depend on `params.seed`.
SEED = 1
# Limits of the number of tried assignments, and of assigned patients in all of them.
_MAX_ATTEMPTS = 64
_MAX_STEPS = 20_000


def grouped_stratified_folds(
    labels: np.ndarray, patient_ids: np.ndarray, n_folds: int, assigned: Mapping[str, int] | None = None
) -> np.ndarray:
    """Assign patients to folds, with balanced classes in each fold.

    The assignment is greedy, as in scikit-learn's StratifiedGroupKFold. A patient who has a large fraction of the
    images of a class is assigned early, to the fold with the smallest fractions of the patient's classes. Patients
    with equal fractions are in random order. Of several tried orders, the best is used: it has the fewest classes
    absent from a fold, and then the most even fractions.

    Folds that lack a class get the lowest numbers. By default, folds 0 and 1 are validation and test, so that train
    has every class if possible. Equal arguments give equal results.

    Patients in `assigned` keep their fold, and the folds are then not renumbered.

    Args:
        labels: (n,) class indices, or (n, classes) bool if an image can have several classes.
        patient_ids: (n,) patient of each image. A patient can have images of several classes.
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
    # The fraction of the images of each class that a patient has. The last column is the fraction of all images, so
    # that the sizes of the folds are balanced like a class.
    fractions = np.column_stack([counts / counts.sum(0), images / images.sum()])
    best: tuple[tuple[int, float], np.ndarray] | None = None
    for attempt in range(max(1, min(_MAX_ATTEMPTS, _MAX_STEPS // len(names)))):
        fold_of_patient, fractions_per_fold = _assign_greedily(
            fractions, n_folds, fixed, np.random.default_rng(SEED + attempt)
        )
        absent_classes = (fractions_per_fold[:, :-1] == 0).sum(1)
        score = (int(absent_classes.sum()), float(((fractions_per_fold - 1 / n_folds) ** 2).sum()))
        if best is None or score < best[0]:
            new_numbers = (
                np.arange(n_folds) if (fixed >= 0).any() else np.argsort(np.argsort(-absent_classes, kind="stable"))
            )
            best = (score, new_numbers[fold_of_patient])
    assert best is not None
    return best[1][patient_index]


def _assign_greedily(
    fractions: np.ndarray, n_folds: int, fixed: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Assign the patients once.

    Args:
        fractions: (patients, classes + 1) fractions of the images of each class, and of all images.
        n_folds: number of folds.
        fixed: (patients,) fold of an earlier assignment; -1 if there is none.
        rng: generator of the order of the patients.

    Returns:
        (patients,) fold of each patient, and (n_folds, classes + 1) sums of the fractions.
    """
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
