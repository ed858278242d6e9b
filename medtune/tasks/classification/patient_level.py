"""Predictions of patients: the images of each combined, decided, and measured with metrics of their own."""

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

# Of the metrics of images those that say something of patients; one that does not exist is left out.
NAMES = (
    "accuracy", "balanced_accuracy", "auroc", "average_precision", "sensitivity", "specificity", "macro_f1", "brier",
)  # fmt: skip


@dataclass(frozen=True)
class PatientLevel:
    """Predictions of patients, one row per patient and fold.

    Attributes:
        predictions: of the patients; `rows` is the position of the patient's first image among those given.
        n_images: (patients,).
    """

    predictions: ClassifierPredictions
    n_images: np.ndarray


def combine(images: ClassifierPredictions, how: Any) -> PatientLevel:
    """Combine the images of each patient; the decision is still that of the first image.

    Args:
        images: each patient has one label.
        how: `evaluate.patient_score`.
    """
    _, first, member, n_images = np.unique(
        images.patient_ids, return_index=True, return_inverse=True, return_counts=True
    )
    found = combine_images(images.probabilities, member, len(first), how)
    return PatientLevel(replace(images.select(first), rows=first, probabilities=found, uncalibrated=found), n_images)


def patient_level(result: EvaluationResult, options: EvaluateParams) -> PatientLevel | str:
    """Predict the test patients.

    The mean is decided by the rule for images of the fold. For `max` and `noisy_or`, whose scale depends on the number
    of images, the threshold is chosen on the validation patients of all folds that are not among the fold's test
    patients; a bundle brings it along.

    Returns:
        Predictions of the patients, or the reason why there are none.
    """
    how, classes, parts = options.patient_score, result.prepared.classes, result.pooled
    if reason := _reason(result, options):
        return reason
    if not result.folds:
        return _decided(combine(parts, how), bundle_rule(result.document or {}, how), classes)
    validation = pool([fold.val for fold in result.all_folds])
    found = []
    for fold in result.folds:
        level = combine(fold.test, how)
        rule = fold.decision
        if how != "mean":
            kept = ~np.isin(validation.patient_ids, fold.test.patient_ids)
            rule = patient_rule(validation.select(np.flatnonzero(kept)), options, classes)
        found.append(_decided(level, rule, classes))
    starts = np.cumsum([0, *(len(fold.test.rows) for fold in result.folds)])
    moved = [replace(one.predictions, rows=one.predictions.rows + k) for one, k in zip(found, starts, strict=False)]
    return PatientLevel(pool(moved), np.concatenate([one.n_images for one in found]))


def patient_rule(validation: ClassifierPredictions, options: EvaluateParams, classes: Sequence[str]) -> dict[str, Any]:
    """Choose the decision rule for patients on validation patients; threshold 0.5 where they are of one class."""
    if not len(validation.rows):
        rule = {"kind": "threshold", "positive": classes[1], "threshold": 0.5}
        return {**rule, "reason": "no validation patient is left: threshold 0.5"}
    level = combine(validation, options.patient_score).predictions
    return fit_decision(
        level.probabilities, level.labels, level.patient_ids, tuple(classes), options.threshold_criterion
    )


def bundle_rule(document: Any, how: str) -> dict[str, Any]:
    """Decision rule of a bundle for patients: that for images where patients have the mean of their images."""
    if how == "mean":
        return document["decision"]
    stored = document.get("patient_level") or {}
    return stored["decision"] if stored.get("score") == how else {"kind": "argmax"}


def patient_facts(level: PatientLevel | str, result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
    """What metrics.json says under `patient_level`: the score, the numbers of patients, and metrics with intervals."""
    if isinstance(level, str):
        return {"score": options.patient_score, "reason": level}
    scored, classes = level.predictions, result.prepared.classes
    metrics = [metric for metric in METRICS if metric.name in NAMES]
    found = intervals(metrics, scored.stats(options), options.confidence)
    facts: dict[str, Any] = {
        "score": options.patient_score,
        "n_patients": len(np.unique(scored.patient_ids)),
        "n_images": int(level.n_images.sum()),
        "patients_by_class": dict(
            zip(classes, np.bincount(scored.labels, minlength=len(classes)).tolist(), strict=True)
        ),
        "metrics": {name: one.as_dict() for name, one in found.items()},
    }
    if options.patient_score != "mean" and result.folds:
        facts["decision"] = patient_rule(pool([fold.val for fold in result.all_folds]), options, classes)
    return facts


def write_patients(path: Path, level: PatientLevel, classes: Sequence[str]) -> None:
    """Write patients.csv: `patient,images,label,decision,prob_<class>,...`, one line per test patient and fold."""
    scored = level.predictions
    rows = (
        [patient, n, classes[label], classes[decided], *(f"{p:.9g}" for p in probabilities)]
        for patient, n, label, decided, probabilities in zip(
            scored.patient_ids, level.n_images.tolist(), scored.labels, scored.predictions, scored.probabilities,
            strict=True,
        )
    )  # fmt: skip
    write_csv(path, ["patient", "images", "label", "decision", *(f"prob_{name}" for name in classes)], rows)


def _decided(level: PatientLevel, rule: dict[str, Any], classes: Sequence[str]) -> PatientLevel:
    decisions = decide(level.predictions.probabilities, rule, classes)
    return replace(level, predictions=replace(level.predictions, predictions=decisions))


def _reason(result: EvaluationResult, options: EvaluateParams) -> str | None:
    if not result.prepared.info["groups_known"]:
        return "the data name no patients"
    used = {"test": result.pooled}
    if options.patient_score != "mean" and result.folds:
        used["validation"] = pool([fold.val for fold in result.all_folds])
    for split, images in used.items():
        patients, member = np.unique(images.patient_ids, return_inverse=True)
        labels = np.bincount(np.unique(np.stack([member, images.labels]), axis=1)[0], minlength=len(patients))
        if several := int((labels > 1).sum()):
            return f"{several} of {len(patients)} {split} patients have images of more than one class"
    if options.patient_score != "mean" and len(result.prepared.classes) != 2:
        return f"evaluate.patient_score={options.patient_score} needs two classes; set it to mean"
    return None
