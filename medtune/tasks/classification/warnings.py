"""Warnings of an evaluation: absent classes, too few patients, failed fits."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medtune.data.class_selection import list_names
from medtune.evaluation.intervals import FEW_PATIENTS
from medtune.tasks.classification.folds import ClassifierFold, ClassifierPredictions

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

# More classes than this are summarized in one sentence.
MAX_SENTENCES = 5


def evaluation_warnings(
    prepared: "PreparedDataset", folds: Sequence[ClassifierFold], pooled: ClassifierPredictions
) -> list[str]:
    """Return the warnings, one sentence each, most severe first."""
    return [*_few_patients(prepared, pooled), *_uncertain_choices(prepared, folds, pooled)]


def _few_patients(prepared: "PreparedDataset", pooled: ClassifierPredictions) -> list[str]:
    """Return warnings about classes without test images, or with few test patients."""
    warnings, absent, few = [], [], []
    unit = "patient" if prepared.info["patients_known"] else "image"
    for k, name in enumerate(prepared.classes):
        n = len(np.unique(pooled.patient_ids[pooled.labels == k]))
        if not n:
            absent.append(name)
            warnings.append(f"No test image is {name}: averages over classes exclude it.")
        elif n < FEW_PATIENTS:
            few.append(name)
            warnings.append(
                f"Only {n} test {unit}{'s' * (n > 1)} with {name}, fewer than {FEW_PATIENTS}: "
                "confidence intervals of its metrics and of averages over classes are wide and approximate."
            )
    if len(warnings) <= MAX_SENTENCES:
        return warnings
    warnings = []
    if absent:
        names = list_names(absent, MAX_SENTENCES)
        warnings.append(f"{len(absent):,} classes have no test image ({names}): averages over classes exclude them.")
    if few:
        names = list_names(few, MAX_SENTENCES)
        warnings.append(
            f"{len(few):,} classes have fewer than {FEW_PATIENTS} test {unit}s ({names}): "
            "confidence intervals of their metrics and of averages over classes are wide and approximate."
        )
    return warnings


def _uncertain_choices(
    prepared: "PreparedDataset", folds: Sequence[ClassifierFold], pooled: ClassifierPredictions
) -> list[str]:
    """Return warnings about repeated test images, and about failed or uncertain choices on validation."""
    warnings = []
    if repeated := len(pooled.rows) - len(np.unique(pooled.rows)):
        warnings.append(f"{repeated} images are in the test set of two folds and count twice.")
    for fold in folds:
        if reason := fold.rules.decision.get("reason"):
            warnings.append(f"Fold {fold.fold}: {reason}.")
        if fold.rules.calibration.at_bound:
            warnings.append(
                f"Fold {fold.fold}: the temperature is at its bound of {fold.rules.calibration.temperature:.2g}. "
                f"{fold.rules.calibration.images} validation images do not determine it."
            )
        absent = [prepared.classes[k] for k in np.setdiff1d(np.arange(len(prepared.classes)), fold.val.labels)]
        if len(absent) > MAX_SENTENCES:
            names = list_names(absent, MAX_SENTENCES)
            warnings.append(f"Fold {fold.fold}: {len(absent):,} classes have no validation image ({names}).")
        else:
            warnings += [f"Fold {fold.fold}: no validation image is {name}." for name in absent]
    return warnings
