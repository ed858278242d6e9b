"""Warnings of a multilabel evaluation: absent findings, too few patients, failed fits."""

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
    """Return the warnings, one sentence each, most severe first."""
    return [*_unscored(prepared, pooled), *_few_patients(prepared, pooled), *_failed_choices(folds, pooled)]


def _unscored(prepared: "PreparedDataset", pooled: FindingPredictions) -> list[str]:
    labels, warnings = pooled.labels, []
    for start, names in (
        ("No test image shows", [name for k, name in enumerate(prepared.classes) if not labels[:, k].any()]),
        ("Every test image shows", [name for k, name in enumerate(prepared.classes) if labels[:, k].all()]),
    ):
        if names:
            warnings.append(f"{start} {list_names(names)}: the metrics are undefined, and averages exclude them.")
    return warnings


def _few_patients(prepared: "PreparedDataset", pooled: FindingPredictions) -> list[str]:
    few = []
    for k, name in enumerate(prepared.classes):
        patients = len(np.unique(pooled.patient_ids[pooled.labels[:, k]]))
        if 0 < patients < FEW_PATIENTS:
            few.append(f"{name} {patients}")
    unit = "patients" if prepared.info["patients_known"] else "images"
    if not few:
        return []
    return [
        f"Fewer than {FEW_PATIENTS} test {unit} show {list_names(few)}: "
        "confidence intervals of these findings are wide and approximate."
    ]


def _failed_choices(folds: Sequence[FindingFold], pooled: FindingPredictions) -> list[str]:
    """Return warnings about repeated test images, and about thresholds and calibrations that failed."""
    warnings = []
    if repeated := len(pooled.rows) - len(np.unique(pooled.rows)):
        warnings.append(f"{repeated} images are in the test set of two folds and count twice.")
    for fold in folds:
        reasons = {"threshold": fold.rules.decision["reasons"], "calibration": fold.rules.calibration.reasons}
        for fit, by_name in reasons.items():
            texts = [f"{name}: {reason}" for name, reason in by_name.items()]
            if texts:
                warnings.append(f"Fold {fold.fold}, {fit}: {list_names(texts, MAX_SENTENCES)}.")
    return warnings
