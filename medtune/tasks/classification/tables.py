"""The CSV files of artifacts/evaluate that DVC draws its plots from."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from medtune.evaluation.tables import write_csv
from medtune.tasks.classification.folds import ClassifierPredictions
from medtune.tasks.classification.ranking import Floats, precision_recall_curve, roc_curve
from medtune.tasks.classification.reliability import reliability

Curves = dict[str, tuple[Floats, Floats]]


def write_confusion(path: Path, classes: tuple[str, ...], scored: ClassifierPredictions) -> None:
    """`actual,predicted`, one line an image: DVC's confusion template counts them."""
    write_csv(
        path,
        ["actual", "predicted"],
        ([classes[a], classes[p]] for a, p in zip(scored.labels, scored.predictions, strict=True)),
    )


def roc_curves(classes: tuple[str, ...], scored: ClassifierPredictions) -> Curves:
    """False and true positive rates by class: of the positive class, index 1, where there are two, else one-vs-rest.

    Classes without both positives and negatives are left out, and so are points on a straight line.
    """
    found = {}
    for k in [1] if len(classes) == 2 else range(len(classes)):
        positive = scored.labels == k
        if positive.any() and not positive.all():
            false, true = roc_curve(positive, scored.probabilities[:, k])
            bend = np.ones(len(false), bool)
            bend[1:-1] = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
            found[classes[k]] = (false[bend], true[bend])
    return found


def precision_recall_curves(classes: tuple[str, ...], scored: ClassifierPredictions) -> Curves:
    """Recall and precision by class, for the classes of `roc_curves`."""
    found = {}
    for k in [1] if len(classes) == 2 else range(len(classes)):
        positive = scored.labels == k
        if positive.any() and not positive.all():
            found[classes[k]] = precision_recall_curve(positive, scored.probabilities[:, k])
    return found


def write_precision_recall(path: Path, curves: Curves) -> None:
    """Write `recall,precision,class`, one line per point."""
    rows = (
        [f"{x:.6g}", f"{y:.6g}", name]
        for name, (recall, precision) in curves.items()
        for x, y in zip(recall, precision, strict=True)
    )
    write_csv(path, ["recall", "precision", "class"], rows)


def write_roc(path: Path, curves: Curves) -> None:
    """`fpr,tpr,class`, a line a point."""
    rows = (
        [f"{x:.6g}", f"{y:.6g}", name] for name, (fpr, tpr) in curves.items() for x, y in zip(fpr, tpr, strict=True)
    )
    write_csv(path, ["fpr", "tpr", "class"], rows)


def write_reliability(path: Path, scored: ClassifierPredictions, bins: int, with_uncalibrated: bool = True) -> None:
    """`confidence,accuracy,images,lower,upper,calibration`, before (if known) and after temperature scaling."""
    columns = ["confidence", "accuracy", "images", "lower", "upper"]
    rows = [
        [*(row[name] for name in columns), said]
        for said, probabilities in (("before", scored.uncalibrated), ("after", scored.probabilities))
        if said == "after" or with_uncalibrated
        for row in reliability(scored.labels, probabilities, bins)
    ]
    write_csv(path, [*columns, "calibration"], rows)


def patient_rows(scored: ClassifierPredictions) -> list[dict[str, object]]:
    """`{group, images, right, label}` for each patient, lowest share right first; `label`: the commonest index."""
    groups, member, images = np.unique(scored.patient_ids, return_inverse=True, return_counts=True)
    right = np.bincount(member, weights=scored.correct) / images
    pairs, times = np.unique(np.stack([member, scored.labels], axis=1), axis=0, return_counts=True)
    # By patient, then the commonest label, then the first one.
    order = np.lexsort((pairs[:, 1], -times, pairs[:, 0]))
    _, first = np.unique(pairs[order, 0], return_index=True)
    labels = pairs[order][first, 1]
    found = [
        {"group": str(group), "images": n, "right": share, "label": label}
        for group, n, share, label in zip(groups, images.tolist(), right.tolist(), labels.tolist(), strict=True)
    ]
    return sorted(found, key=lambda row: (row["right"], row["group"]))


def sort_by_confidence(scored: ClassifierPredictions, correct: bool) -> npt.NDArray[np.int64]:
    """Positions in `scored` of the right (or wrong) predictions, the most confident first."""
    chosen = np.flatnonzero(scored.correct == correct)
    confidence = scored.probabilities[chosen, scored.predictions[chosen]]
    return chosen[np.argsort(-confidence, kind="stable")]
