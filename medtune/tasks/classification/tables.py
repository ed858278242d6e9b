"""CSV files of artifacts/evaluate from which DVC draws its plots."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from medtune.evaluation.tables import write_csv
from medtune.tasks.classification.folds import ClassifierPredictions
from medtune.tasks.classification.ranking import Floats, precision_recall_curve, roc_curve
from medtune.tasks.classification.reliability import reliability

Curves = dict[str, tuple[Floats, Floats]]


def write_confusion(path: Path, classes: tuple[str, ...], predictions: ClassifierPredictions) -> None:
    """Write `actual,predicted`, one line per image, for DVC's confusion template."""
    write_csv(
        path,
        ["actual", "predicted"],
        ([classes[a], classes[p]] for a, p in zip(predictions.labels, predictions.predictions, strict=True)),
    )


def roc_curves(classes: tuple[str, ...], predictions: ClassifierPredictions) -> Curves:
    """Compute the ROC curve of the positive class (index 1), or with more than two classes one-vs-rest curves.

    Args:
        classes: class names.
        predictions: predictions of the test images.

    Returns:
        False and true positive rates by class, without points on the line between their neighbors.
        Classes without positives or negatives are omitted.
    """
    curves = {}
    for k in [1] if len(classes) == 2 else range(len(classes)):
        positive = predictions.labels == k
        if positive.any() and not positive.all():
            curves[classes[k]] = remove_collinear(*roc_curve(positive, predictions.probabilities[:, k]))
    return curves


def remove_collinear(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Remove the points of a curve that are on the line between their neighbors."""
    bend = np.ones(len(x), bool)
    bend[1:-1] = (np.diff(x, 2) != 0) | (np.diff(y, 2) != 0)
    return x[bend], y[bend]


def precision_recall_curves(classes: tuple[str, ...], predictions: ClassifierPredictions) -> Curves:
    """Compute recall and precision by class, for the classes of `roc_curves`."""
    curves = {}
    for k in [1] if len(classes) == 2 else range(len(classes)):
        positive = predictions.labels == k
        if positive.any() and not positive.all():
            curves[classes[k]] = precision_recall_curve(positive, predictions.probabilities[:, k])
    return curves


def write_precision_recall(path: Path, curves: Curves) -> None:
    """Write `recall,precision,class`, one line per point."""
    rows = (
        [f"{x:.6g}", f"{y:.6g}", name]
        for name, (recall, precision) in curves.items()
        for x, y in zip(recall, precision, strict=True)
    )
    write_csv(path, ["recall", "precision", "class"], rows)


def write_roc(path: Path, curves: Curves) -> None:
    """Write `fpr,tpr,class`, one line per point."""
    rows = (
        [f"{x:.6g}", f"{y:.6g}", name] for name, (fpr, tpr) in curves.items() for x, y in zip(fpr, tpr, strict=True)
    )
    write_csv(path, ["fpr", "tpr", "class"], rows)


def write_reliability(
    path: Path, predictions: ClassifierPredictions, bins: int, with_uncalibrated: bool = True
) -> None:
    """Write `confidence,accuracy,images,lower,upper,calibration`, where calibration is `before` or `after`."""
    columns = ["confidence", "accuracy", "images", "lower", "upper"]
    rows = [
        [*(row[name] for name in columns), calibration]
        for calibration, probabilities in (("before", predictions.uncalibrated), ("after", predictions.probabilities))
        if calibration == "after" or with_uncalibrated
        for row in reliability(predictions.labels, probabilities, bins)
    ]
    write_csv(path, [*columns, "calibration"], rows)


def patient_rows(predictions: ClassifierPredictions) -> list[dict[str, object]]:
    """Compute the fraction of correct images per patient.

    Args:
        predictions: predictions of the test images.

    Returns:
        `{patient, images, correct, label}` per patient, lowest fraction `correct` first. `label` is the index of the
        most frequent label.
    """
    patients, member, images = np.unique(predictions.patient_ids, return_inverse=True, return_counts=True)
    correct = np.bincount(member, weights=predictions.correct) / images
    pairs, counts = np.unique(np.stack([member, predictions.labels], axis=1), axis=0, return_counts=True)
    # Sort by patient, then by descending count, then by label.
    order = np.lexsort((pairs[:, 1], -counts, pairs[:, 0]))
    _, first = np.unique(pairs[order, 0], return_index=True)
    labels = pairs[order][first, 1]
    rows = [
        {"patient": str(patient), "images": n, "correct": fraction, "label": label}
        for patient, n, fraction, label in zip(
            patients, images.tolist(), correct.tolist(), labels.tolist(), strict=True
        )
    ]
    return sorted(rows, key=lambda row: (row["correct"], row["patient"]))


def sort_by_confidence(predictions: ClassifierPredictions, correct: bool) -> npt.NDArray[np.int64]:
    """Return the positions of the correct (or incorrect) predictions, most confident first."""
    positions = np.flatnonzero(predictions.correct == correct)
    confidence = predictions.probabilities[positions, predictions.predictions[positions]]
    return positions[np.argsort(-confidence, kind="stable")]
