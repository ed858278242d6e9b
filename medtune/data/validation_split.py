"""Stratified folds of images, and the validation split for protocols that define only train and test."""

import warnings
from collections.abc import Sequence

import numpy as np

from medtune.config.errors import InputError, pluralize
from medtune.data.folds import SEED, grouped_stratified_folds
from medtune.data.sample import Sample


def hold_out_validation(labels: np.ndarray, samples: Sequence[Sample], source: str) -> np.ndarray:
    """Select a fifth of the images of a training split for validation.

    The images are split into five folds, by patient if the patients are known. The selected fold is the first of those
    that have the most classes in common with the other folds.

    Args:
        labels: (n,) class indices, or (n, classes + 1) bool from `medtune.data.findings.encode_labels`.
        samples: the n images of a training split.
        source: name of the source, for error messages.

    Returns:
        (n,) bool, True for validation images.

    Raises:
        InputError: there are fewer than five patients; or no patients, and every class has fewer than five images.
    """
    if labels.ndim == 1:
        _, labels = np.unique(labels, return_inverse=True)
    if any(sample.patient_id is None for sample in samples):
        if (most := int(_images_per_class(labels).max())) < 5:
            raise InputError(
                f"data.source={source}: a training split has at most {most} images per class; 5 are needed for "
                "validation. Add images"
            )
        folds = stratified_folds(labels, 5, source)
    else:
        patient_ids = np.array([sample.patient_id for sample in samples])
        if (n_patients := len(np.unique(patient_ids))) < 5:
            raise InputError(
                f"data.source={source}: a training split has {pluralize(n_patients, 'patient')}; 5 are needed for "
                "validation. Add patients"
            )
        folds = grouped_stratified_folds(labels, patient_ids, 5)
    if labels.ndim == 1:
        shared = [len(np.intersect1d(labels[folds == fold], labels[folds != fold])) for fold in range(5)]
    else:
        shared = [int((labels[folds == fold].any(0) & labels[folds != fold].any(0)).sum()) for fold in range(5)]
    validation: np.ndarray = folds == int(np.argmax(shared))
    return validation


def _images_per_class(labels: np.ndarray) -> np.ndarray:
    """Return the number of images of each class or finding."""
    counts: np.ndarray = np.bincount(labels) if labels.ndim == 1 else labels.sum(0)
    return counts


def stratified_folds(labels: np.ndarray, folds: int, source: str) -> np.ndarray:
    """Assign images to folds with balanced classes. Images of one patient can be in several folds.

    Args:
        labels: (n,) class indices, or (n, classes + 1) bool from `medtune.data.findings.encode_labels`.
        folds: number of folds.
        source: name of the source, for error messages.

    Returns:
        (n,) int64 fold of each image.

    Raises:
        InputError: every class has fewer images than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold

    if _images_per_class(labels).max() < folds:
        raise InputError(
            f"data.split.folds={folds}: every class has fewer than {folds} images (data.source={source}). Set "
            "data.split.folds to a smaller number"
        )
    if labels.ndim > 1:  # scikit-learn stratifies by one class only
        return grouped_stratified_folds(labels, np.arange(len(labels)), folds)
    assigned = np.empty(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes with fewer images than folds are checked later
        for fold, (_, test) in enumerate(StratifiedKFold(folds, shuffle=True, random_state=SEED).split(labels, labels)):
            assigned[test] = fold
    return assigned
