"""What a reader of the metrics must know: findings without images, too few patients, what could not be chosen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medtune.data.class_selection import list_names
from medtune.evaluation.intervals import FEW_PATIENTS
from medtune.tasks.classification.warnings import MAX_SENTENCES
from medtune.tasks.multilabel.folds import FindingFold, FindingPredictions

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


def evaluation_warnings(
    prepared: "PreparedDataset", folds: Sequence[FindingFold], pooled: FindingPredictions
) -> list[str]:
    """One sentence each, the gravest first; empty where there is nothing to warn of."""
    return [*_unscored(prepared, pooled), *_few_patients(prepared, pooled), *_failed_choices(folds, pooled)]


def _unscored(prepared: "PreparedDataset", pooled: FindingPredictions) -> list[str]:
    shown, found = pooled.labels, []
    for none, names in (
        ("No test image shows", [n for k, n in enumerate(prepared.classes) if not shown[:, k].any()]),
        ("Every test image shows", [n for k, n in enumerate(prepared.classes) if shown[:, k].all()]),
    ):
        if names:
            found.append(f"{none} {list_names(names)}: undefined there, and averages leave it out.")
    return found


def _few_patients(prepared: "PreparedDataset", pooled: FindingPredictions) -> list[str]:
    few = []
    for k, name in enumerate(prepared.classes):
        patients = len(np.unique(pooled.patient_ids[pooled.labels[:, k]]))
        if 0 < patients < FEW_PATIENTS:
            few.append(f"{name} {patients}")
    unit = "patients" if prepared.info["groups_known"] else "images"
    if not few:
        return []
    return [
        f"Fewer than {FEW_PATIENTS} test {unit} show {list_names(few)}: intervals of these are wide and approximate."
    ]


def _failed_choices(folds: Sequence[FindingFold], pooled: FindingPredictions) -> list[str]:
    found = []
    if repeated := len(pooled.rows) - len(np.unique(pooled.rows)):
        found.append(f"{repeated} images are in the test set of two folds and count twice.")
    for fold in folds:
        reasons = {"threshold": fold.decision["reasons"], "calibration": fold.calibration.reasons}
        for what, by_name in reasons.items():
            lines = [f"{name}: {reason}" for name, reason in by_name.items()]
            if lines:
                found.append(f"Fold {fold.fold}, {what}: {list_names(lines, MAX_SENTENCES)}.")
    return found
