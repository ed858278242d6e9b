"""Predictions of patients: a patient shows a finding if at least one of the patient's images does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.schema import EvaluateParams
from medtune.evaluation.intervals import intervals
from medtune.evaluation.patient_scores import PatientScore, combine_images
from medtune.evaluation.result import EvaluationResult
from medtune.evaluation.tables import write_csv
from medtune.serving.tasks.multilabel import decide
from medtune.tasks.multilabel.folds import FindingPredictions, decision_of, pool
from medtune.tasks.multilabel.metrics import METRICS
from medtune.tasks.multilabel.tables import per_finding

# Of the metrics of images those that say something of patients.
NAMES = ("auroc", "average_precision", "macro_f1", "balanced_accuracy", "sensitivity", "specificity", "brier")


@dataclass(frozen=True)
class PatientLevel:
    """Predictions of patients, one row per patient and fold.

    Attributes:
        predictions: of the patients; `rows` is the row of the patient's first image in the manifest.
        n_images: (patients,).
    """

    predictions: FindingPredictions
    n_images: np.ndarray


def combine(images: FindingPredictions, how: PatientScore) -> PatientLevel:
    """Combine the images of each patient, finding by finding; all thresholds are 0.5.

    Args:
        images: in any order.
        how: `evaluate.patient_score`.
    """
    _, first, member, n_images = np.unique(
        images.patient_ids, return_index=True, return_inverse=True, return_counts=True
    )
    shown = np.zeros((len(first), images.labels.shape[1]), bool)
    np.logical_or.at(shown, member, images.labels)
    columns = [
        combine_images(np.stack([1 - own, own], axis=1), member, len(first), how)[:, 1]
        for own in images.probabilities.T
    ]
    found = np.stack(columns, axis=1)
    patients = replace(
        images.select(first), labels=shown, probabilities=found, uncalibrated=found, decided=found >= 0.5
    )
    return PatientLevel(patients, n_images)


def patient_level(result: EvaluationResult, options: EvaluateParams) -> PatientLevel | str:
    """Predict the test patients, or say why not.

    The thresholds are chosen on the validation patients of all folds that are not among the fold's test patients. Those
    of a bundle are its thresholds for images.
    """
    how, names = options.patient_score, result.prepared.classes
    if not result.prepared.info["groups_known"]:
        return "the data name no patients"
    if not result.folds:
        return _decided(combine(result.pooled, how), (result.document or {})["decision"], names)
    validation, found = pool([fold.val for fold in result.all_folds]), []
    for fold in result.folds:
        kept = np.flatnonzero(~np.isin(validation.patient_ids, fold.test.patient_ids))
        if not len(kept):
            return f"fold {fold.fold}: no validation patient is left to choose the thresholds"
        rule = decision_of(combine(validation.select(kept), how).predictions, names, options)
        found.append(_decided(combine(fold.test, how), rule, names))
    return PatientLevel(pool([one.predictions for one in found]), np.concatenate([one.n_images for one in found]))


def patient_facts(level: PatientLevel | str, result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
    """What metrics.json says under `patient_level`: macro metrics with intervals, and those of each finding."""
    if isinstance(level, str):
        return {"score": options.patient_score, "reason": level}
    stats = level.predictions.stats(options)
    found = intervals([metric for metric in METRICS if metric.name in NAMES], stats, options.confidence)
    rows = per_finding(stats, result.prepared.classes, options.confidence)
    return {
        "score": options.patient_score,
        "n_patients": len(np.unique(level.predictions.patient_ids)),
        "n_images": int(level.n_images.sum()),
        "metrics": {name: one.as_dict() for name, one in found.items()},
        "per_class": [
            {name: value for name, value in row.items() if name not in ("images", "patients")} for row in rows
        ],
    }


def write_patients(path: Path, level: PatientLevel, names: Sequence[str]) -> None:
    """Write patients.csv, one line per test patient and fold.

    The columns are `patient,images` and for each finding `label_<finding>,pred_<finding>,prob_<finding>`.
    """
    scored = level.predictions
    header = [f"{column}_{name}" for name in names for column in ("label", "pred", "prob")]
    cells = zip(scored.labels, scored.decided, scored.probabilities, strict=True)
    lines = [
        [cell for label, said, p in zip(*one, strict=True) for cell in (int(label), int(said), f"{p:.9g}")]
        for one in cells
    ]
    rows = ([*own, *line] for *own, line in zip(scored.patient_ids, level.n_images.tolist(), lines, strict=True))
    write_csv(path, ["patient", "images", *header], rows)


def _decided(level: PatientLevel, rule: dict[str, Any], names: Sequence[str]) -> PatientLevel:
    decided = decide(level.predictions.probabilities, rule, names)
    return replace(level, predictions=replace(level.predictions, decided=decided))
