"""Predictions per patient, combined from the patient's images, and their metrics."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.schema import EvaluateParams
from medtune.evaluation.intervals import intervals
from medtune.evaluation.patient_scores import combine_images
from medtune.evaluation.result import EvaluationResult
from medtune.evaluation.tables import write_csv
from medtune.serving.tasks.classification import decide
from medtune.tasks.classification.decision import fit_decision
from medtune.tasks.classification.folds import ClassifierPredictions, pool
from medtune.tasks.classification.metrics import METRICS

# Metrics that are meaningful per patient. Undefined metrics are omitted.
NAMES = (
    "accuracy", "balanced_accuracy", "auroc", "average_precision", "sensitivity", "specificity", "macro_f1", "brier",
)  # fmt: skip


@dataclass(frozen=True)
class PatientLevel:
    """Predictions of patients, one row per patient and fold.

    Attributes:
        predictions: predictions of the patients. `rows` is the position of the patient's first image in the predictions
            of the images.
        n_images: (patients,) number of images per patient.
    """

    predictions: ClassifierPredictions
    n_images: np.ndarray


def combine(images: ClassifierPredictions, how: Any) -> PatientLevel:
    """Combine the probabilities of each patient's images.

    Args:
        images: predictions of the images. All images of a patient have the same label.
        how: `evaluate.patient_score`.

    Returns:
        The patients. The predictions are those of the first image until a decision rule is applied.
    """
    _, first, member, n_images = np.unique(
        images.patient_ids, return_index=True, return_inverse=True, return_counts=True
    )
    combined = combine_images(images.probabilities, member, len(first), how)
    patients = replace(images.select(first), rows=first, probabilities=combined, uncalibrated=combined)
    return PatientLevel(patients, n_images)


def patient_level(result: EvaluationResult, options: EvaluateParams) -> PatientLevel | str:
    """Predict the test patients.

    With the score `mean`, the fold's decision rule for images applies. The scale of `max` and `noisy_or` depends on the
    number of images. Their threshold is therefore chosen on the validation patients of all folds, without the fold's
    test patients. A bundle uses the rule that it contains (`bundle_rule`).

    Args:
        result: the evaluation.
        options: section `evaluate` of the params.

    Returns:
        Predictions of the patients, or the reason why they are missing.
    """
    how, classes = options.patient_score, result.prepared.classes
    if reason := _why_unavailable(result, options):
        return reason
    if not result.folds:
        return _apply_rule(combine(result.pooled, how), bundle_rule(result.document or {}, how), classes)
    validation = pool([fold.val for fold in result.all_folds])
    levels = []
    for fold in result.folds:
        level = combine(fold.test, how)
        rule = fold.rules.decision
        if how != "mean":
            usable = ~np.isin(validation.patient_ids, fold.test.patient_ids)
            rule = patient_rule(validation.select(np.flatnonzero(usable)), options, classes)
        levels.append(_apply_rule(level, rule, classes))
    starts = np.cumsum([0, *(len(fold.test.rows) for fold in result.folds)])
    parts = [
        replace(level.predictions, rows=level.predictions.rows + start)
        for level, start in zip(levels, starts, strict=False)
    ]
    return PatientLevel(pool(parts), np.concatenate([level.n_images for level in levels]))


def patient_rule(validation: ClassifierPredictions, options: EvaluateParams, classes: Sequence[str]) -> dict[str, Any]:
    """Choose the decision rule on validation patients. Without patients of both classes, the threshold is 0.5."""
    if not len(validation.rows):
        rule = {"kind": "threshold", "positive": classes[1], "threshold": 0.5}
        return {**rule, "reason": "no validation patient remains, so the threshold is 0.5"}
    level = combine(validation, options.patient_score).predictions
    return fit_decision(
        level.probabilities, level.labels, level.patient_ids, tuple(classes), options.threshold_criterion
    )


def bundle_rule(document: Any, how: str) -> dict[str, Any]:
    """Return the decision rule of a bundle for patients.

    Args:
        document: content of bundle.json.
        how: `evaluate.patient_score`.

    Returns:
        For `mean`, the rule for images. For other scores, the stored rule of this score. If the bundle has no such
        rule, the most probable class.
    """
    if how == "mean":
        return dict(document["decision"])
    stored = document.get("patient_level") or {}
    return stored["decision"] if stored.get("score") == how else {"kind": "argmax"}


def patient_facts(level: PatientLevel | str, result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
    """Return the values of metrics.json for `patient_level`: score, numbers of patients, metrics with intervals."""
    if isinstance(level, str):
        return {"score": options.patient_score, "reason": level}
    patients, classes = level.predictions, result.prepared.classes
    metrics = [metric for metric in METRICS if metric.name in NAMES]
    by_name = intervals(metrics, patients.stats(options), options.confidence)
    facts: dict[str, Any] = {
        "score": options.patient_score,
        "n_patients": len(np.unique(patients.patient_ids)),
        "n_images": int(level.n_images.sum()),
        "patients_by_class": dict(
            zip(classes, np.bincount(patients.labels, minlength=len(classes)).tolist(), strict=True)
        ),
        "metrics": {name: interval.as_dict() for name, interval in by_name.items()},
    }
    if options.patient_score != "mean" and result.folds:
        facts["decision"] = patient_rule(pool([fold.val for fold in result.all_folds]), options, classes)
    return facts


def write_patients(path: Path, level: PatientLevel, classes: Sequence[str]) -> None:
    """Write patients.csv: `patient,images,label,decision,prob_<class>,...`, one line per test patient and fold."""
    patients = level.predictions
    rows = (
        [patient, n, classes[label], classes[prediction], *(f"{p:.9g}" for p in probabilities)]
        for patient, n, label, prediction, probabilities in zip(
            patients.patient_ids, level.n_images.tolist(), patients.labels, patients.predictions,
            patients.probabilities, strict=True,
        )
    )  # fmt: skip
    write_csv(path, ["patient", "images", "label", "decision", *(f"prob_{name}" for name in classes)], rows)


def _apply_rule(level: PatientLevel, rule: dict[str, Any], classes: Sequence[str]) -> PatientLevel:
    decisions = decide(level.predictions.probabilities, rule, classes)
    return replace(level, predictions=replace(level.predictions, predictions=decisions))


def _why_unavailable(result: EvaluationResult, options: EvaluateParams) -> str | None:
    """Return the reason why patients cannot be predicted, or None."""
    if not result.prepared.info["patients_known"]:
        return "the dataset has no patient ids"
    splits = {"test": result.pooled}
    if options.patient_score != "mean" and result.folds:
        splits["validation"] = pool([fold.val for fold in result.all_folds])
    for split, images in splits.items():
        patients, member = np.unique(images.patient_ids, return_inverse=True)
        n_labels = np.bincount(np.unique(np.stack([member, images.labels]), axis=1)[0], minlength=len(patients))
        if several := int((n_labels > 1).sum()):
            return f"{several} of {len(patients)} {split} patients have images of more than one class"
    if options.patient_score != "mean" and len(result.prepared.classes) != 2:
        return f"evaluate.patient_score={options.patient_score} needs two classes. Use mean"
    return None
