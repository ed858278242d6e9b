"""What a reader of the figures must know: leaks, too few patients, what could not be chosen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medtune.data.class_selection import list_names
from medtune.evaluation.intervals import FEW_PATIENTS
from medtune.tasks.classification.folds import ClassifierFold, ClassifierPredictions

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

# More classes than this share one sentence.
MAX_SENTENCES = 5


def evaluation_warnings(
    prepared: "PreparedDataset", folds: Sequence[ClassifierFold], pooled: ClassifierPredictions
) -> list[str]:
    """One sentence each, the gravest first; empty where there is nothing to warn of."""
    return [*_few_patients(prepared, pooled), *_undefined_choices(prepared, folds, pooled)]


def _few_patients(prepared: "PreparedDataset", pooled: ClassifierPredictions) -> list[str]:
    found, absent, few = [], [], []
    unit = "patient" if prepared.info["groups_known"] else "image"
    for k, name in enumerate(prepared.classes):
        groups = len(np.unique(pooled.patient_ids[pooled.labels == k]))
        if not groups:
            absent.append(name)
            found.append(f"No test image is {name}: averages over classes leave it out.")
        elif groups < FEW_PATIENTS:
            few.append(name)
            found.append(
                f"Only {groups} test {unit}{'s' * (groups > 1)} with {name}, fewer than {FEW_PATIENTS}: "
                "intervals of its metrics and of averages over classes are wide and approximate."
            )
    if len(found) <= MAX_SENTENCES:
        return found
    found = []
    if absent:
        named = list_names(absent, MAX_SENTENCES)
        found.append(f"No test image is of {len(absent):,} classes ({named}): averages over classes leave them out.")
    if few:
        found.append(
            f"Fewer than {FEW_PATIENTS} test {unit}s for each of {len(few):,} classes "
            f"({list_names(few, MAX_SENTENCES)}): intervals of their metrics and of averages over classes are wide and "
            "approximate."
        )
    return found


def _undefined_choices(
    prepared: "PreparedDataset", folds: Sequence[ClassifierFold], pooled: ClassifierPredictions
) -> list[str]:
    found = []
    if repeated := len(pooled.rows) - len(np.unique(pooled.rows)):
        found.append(f"{repeated} images are in the test set of two chains and count twice.")
    for fold in folds:
        if reason := fold.decision.get("reason"):
            found.append(f"Fold {fold.fold}: {reason}.")
        if fold.calibration.at_bound:
            found.append(
                f"Fold {fold.fold}: the temperature stands at its bound, {fold.calibration.temperature:.2g}: "
                f"{fold.calibration.images} validation images do not fix it."
            )
        absent = [prepared.classes[k] for k in np.setdiff1d(np.arange(len(prepared.classes)), fold.val.labels)]
        if len(absent) > MAX_SENTENCES:
            named = list_names(absent, MAX_SENTENCES)
            found.append(f"Fold {fold.fold}: no validation image is of {len(absent):,} classes ({named}).")
        else:
            found += [f"Fold {fold.fold}: no validation image is {name}." for name in absent]
    return found
