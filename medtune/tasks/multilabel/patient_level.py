"""Predictions per patient. A patient shows a finding if at least one image of the patient shows it."""

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

# Metrics that are meaningful per patient.
NAMES = ("auroc", "average_precision", "macro_f1", "balanced_accuracy", "sensitivity", "specificity", "brier")


@dataclass(frozen=True)
class PatientLevel:
    """Predictions of patients, one row per patient and fold.

    Attributes:
        predictions: predictions of the patients. `rows` is the row index of the patient's first image in the manifest.
        n_images: (patients,) number of images per patient.
    """

    predictions: FindingPredictions
    n_images: np.ndarray


def combine(images: FindingPredictions, how: PatientScore) -> PatientLevel:
    """Combine the probabilities of each patient's images per finding.

    Args:
        images: predictions of the images.
        how: `evaluate.patient_score`.

    Returns:
        The patients. Their decisions use the threshold 0.5 until a decision rule is applied.
    """
    _, first, member, n_images = np.unique(
        images.patient_ids, return_index=True, return_inverse=True, return_counts=True
    )
    labels = np.zeros((len(first), images.labels.shape[1]), bool)
    np.logical_or.at(labels, member, images.labels)
    columns = [
        combine_images(np.stack([1 - p, p], axis=1), member, len(first), how)[:, 1] for p in images.probabilities.T
    ]
    combined = np.stack(columns, axis=1)
    patients = replace(
        images.select(first), labels=labels, probabilities=combined, uncalibrated=combined, decided=combined >= 0.5
    )
    return PatientLevel(patients, n_images)


def patient_level(result: EvaluationResult, options: EvaluateParams) -> PatientLevel | str:
    """Predict the test patients.

    The thresholds of a fold are chosen on the validation patients of all folds, without the fold's test patients. A
    bundle uses its thresholds for images, because a bundle contains no thresholds for patients.

    Args:
        result: the evaluation.
        options: section `evaluate` of the params.

    Returns:
        Predictions of the patients, or the reason why they are missing.
    """
    how, names = options.patient_score, result.prepared.classes
    if not result.prepared.info["patients_known"]:
        return "the dataset has no patient ids"
    if not result.folds:
        return _apply_rule(combine(result.pooled, how), (result.document or {})["decision"], names)
    validation, levels = pool([fold.val for fold in result.all_folds]), []
    for fold in result.folds:
        usable = np.flatnonzero(~np.isin(validation.patient_ids, fold.test.patient_ids))
        if not len(usable):
            return f"fold {fold.fold}: no validation patient remains to choose the thresholds"
        rule = decision_of(combine(validation.select(usable), how).predictions, names, options)
        levels.append(_apply_rule(combine(fold.test, how), rule, names))
    pooled = pool([level.predictions for level in levels])
    return PatientLevel(pooled, np.concatenate([level.n_images for level in levels]))


def patient_facts(level: PatientLevel | str, result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
    """Return the values of metrics.json for `patient_level`: macro metrics with intervals, and metrics per finding."""
    if isinstance(level, str):
        return {"score": options.patient_score, "reason": level}
    stats = level.predictions.stats(options)
    by_name = intervals([metric for metric in METRICS if metric.name in NAMES], stats, options.confidence)
    rows = per_finding(stats, result.prepared.classes, options.confidence)
    return {
        "score": options.patient_score,
        "n_patients": len(np.unique(level.predictions.patient_ids)),
        "n_images": int(level.n_images.sum()),
        "metrics": {name: interval.as_dict() for name, interval in by_name.items()},
        "per_class": [
            {name: value for name, value in row.items() if name not in ("images", "patients")} for row in rows
        ],
    }


def write_patients(path: Path, level: PatientLevel, names: Sequence[str]) -> None:
    """Write patients.csv, one line per test patient and fold.

    The columns are `patient,images` and for each finding `label_<finding>,pred_<finding>,prob_<finding>`.

    Args:
        path: file to write.
        level: predictions of the patients.
        names: names of the findings.
    """
    patients = level.predictions
    header = [f"{column}_{name}" for name in names for column in ("label", "pred", "prob")]
    rows = []
    for k, (patient, n_images) in enumerate(zip(patients.patient_ids, level.n_images.tolist(), strict=True)):
        findings = zip(patients.labels[k], patients.decided[k], patients.probabilities[k], strict=True)
        values = [value for label, decided, p in findings for value in (int(label), int(decided), f"{p:.9g}")]
        rows.append([patient, n_images, *values])
    write_csv(path, ["patient", "images", *header], rows)


def _apply_rule(level: PatientLevel, rule: dict[str, Any], names: Sequence[str]) -> PatientLevel:
    decided = decide(level.predictions.probabilities, rule, names)
    return replace(level, predictions=replace(level.predictions, decided=decided))
