"""The figures a classifier is judged by, from labels, probabilities and predictions.

Conventions, the same for a whole set and for a bootstrap resample of it:

- Averages over classes run over the classes present in the labels (scikit-learn's `labels=present`,
  `zero_division=0`): a class the test images lack counts neither as 0 nor as 1; a class that is there
  and never predicted has precision 0.
- `auroc`: two classes: of class 1 by its probability. More: one-vs-rest, plain mean over the present
  classes. Undefined, as `average_precision` (of class 1), where the labels hold one class only.
- `ece`: of the most probable class, whatever the decision rule then says.
- `patient_recognition_rate`: mean over patients of the share of a patient's images that are right
  (Spanhol et al. 2016).
- `paper_f1`: harmonic mean of macro precision and macro recall, which the CDTM paper calls F1; it is
  not the usual macro F1.

Undefined is NaN in arrays and None in what is written out. No torch here: the training loop scores with it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medtune.tasks.classification.ranking import Floats, Ranking, auroc, average_precision, rank
from medtune.tasks.classification.reliability import bin_sums, ece_of

Ints = npt.NDArray[np.int64]
MACRO = ("balanced_accuracy", "macro_f1", "macro_precision", "macro_recall", "paper_f1")
METRICS = ("accuracy", *MACRO, "auroc", "ece", "patient_recognition_rate")
BINARY = ("sensitivity", "specificity", "average_precision")
SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "auroc")


@dataclass(frozen=True)
class Tally:
    """All that the metrics need of a set of images, summed once, so that patients can be re-weighted cheaply.

    Attributes:
        confusion: (groups, classes * classes), images of each patient by label, then prediction.
        bins: (groups, 3 * bins), each patient's images, confidence and hits by confidence bin.
        recognised: (groups,) share of each patient's images that are right.
        member: (images,) each image's patient.
        present: (classes,) the labels hold this class.
        rankings: one for each class whose AUROC is averaged.
    """

    confusion: Floats
    bins: Floats
    recognised: Floats
    member: Ints
    present: npt.NDArray[np.bool_]
    rankings: tuple[Ranking, ...]

    @property
    def n_classes(self) -> int:
        """Classes there could be, present or not."""
        return len(self.present)

    @property
    def n_groups(self) -> int:
        """Patients."""
        return len(self.recognised)


def tally(labels: Ints, probabilities: Floats, predictions: Ints, groups: npt.NDArray, ece_bins: int = 15) -> Tally:
    """The sums behind every metric.

    Args:
        labels: (n,) class indices.
        probabilities: (n, classes), rows sum to 1.
        predictions: (n,) class indices.
        groups: (n,) patients.
        ece_bins: equal-width confidence bins.

    Raises:
        ValueError: no images, a probability that is not finite, or a label that is no class.
    """
    labels, predictions = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    probabilities = np.asarray(probabilities, np.float64)
    n, classes = probabilities.shape
    if not n:
        raise ValueError("no images to score")
    if not np.isfinite(probabilities).all():
        raise ValueError(f"{(~np.isfinite(probabilities)).any(axis=1).sum()} of {n} images have a probability of NaN")
    if min(labels.min(), predictions.min()) < 0 or max(labels.max(), predictions.max()) >= classes:
        raise ValueError(f"a label or prediction is outside 0 to {classes - 1}")
    patients, member = np.unique(groups, return_inverse=True)
    confusion = _sums(member * classes**2 + labels * classes + predictions, len(patients), classes**2)
    images = np.bincount(member)
    present = np.bincount(labels, minlength=classes) > 0
    # One class alone has no negatives to be ranked against.
    ranked = [k for k in ([1] if classes == 2 else range(classes)) if present[k] and present.sum() > 1]
    return Tally(
        confusion,
        bin_sums(labels, probabilities, member, len(patients), ece_bins),
        np.bincount(member, weights=labels == predictions) / images,
        member,
        present,
        tuple(rank(labels == k, probabilities[:, k]) for k in ranked),
    )


def values(tally: Tally, weights: Floats | None = None) -> dict[str, Floats]:
    """Every metric (R,), NaN where undefined, with each patient counted `weights` (R, groups) times; None: once.

    A metric averaged over classes is undefined for a row of weights that loses a class the labels hold:
    its mean would be over other classes than the whole set's.
    """
    if weights is None:
        weights = np.ones((1, tally.n_groups))
    found = from_confusion((weights @ tally.confusion).reshape(-1, tally.n_classes, tally.n_classes), tally.present)
    images = weights[:, tally.member]
    areas = [auroc(ranking, images) for ranking in tally.rankings]
    found["auroc"] = np.mean(areas, axis=0) if areas else np.full(len(weights), np.nan)
    found["ece"] = ece_of(weights @ tally.bins)
    found["patient_recognition_rate"] = weights @ tally.recognised / weights.sum(axis=1)
    if tally.n_classes == 2:
        found["average_precision"] = (
            average_precision(tally.rankings[0], images) if areas else np.full(len(weights), np.nan)
        )
    return found


def from_confusion(confusion: Floats, present: npt.NDArray[np.bool_]) -> dict[str, Floats]:
    """Metrics (R,) that follow from confusion matrices (R, classes, classes), rows the labels.

    Args:
        confusion: counts; need not be whole.
        present: (classes,) the classes averages run over.
    """
    hits = np.einsum("rkk->rk", confusion)
    actual, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = hits / actual
        # 0 where nothing was predicted; NaN, like recall, where the class is not there.
        precision = np.where(actual > 0, hits / np.maximum(predicted, hits + (predicted == 0)), np.nan)
        f1 = np.where(actual > 0, 2 * hits / (actual + predicted), np.nan)
        macro_precision = precision[:, present].mean(axis=1)
        macro_recall = recall[:, present].mean(axis=1)
        total = macro_precision + macro_recall
        found = {
            "accuracy": hits.sum(axis=1) / confusion.sum(axis=(1, 2)),
            "balanced_accuracy": macro_recall,
            "macro_f1": f1[:, present].mean(axis=1),
            "macro_precision": macro_precision,
            "macro_recall": macro_recall,
            "paper_f1": np.where(total == 0, 0.0, 2 * macro_precision * macro_recall / total),
        }
        if confusion.shape[1] == 2:
            found |= {"sensitivity": recall[:, 1], "specificity": recall[:, 0]}
    return found


def measure(
    labels: Ints, probabilities: Floats, predictions: Ints, groups: npt.NDArray, ece_bins: int = 15
) -> dict[str, float | None]:
    """Every metric of a set of images by name; None where undefined. Arguments as in `tally`."""
    found = values(tally(labels, probabilities, predictions, groups, ece_bins))
    return {name: plain(value[0]) for name, value in found.items()}


def score(labels: npt.NDArray, probabilities: npt.NDArray) -> dict[str, float]:
    """accuracy, balanced_accuracy, macro_f1 and auroc of the most probable classes.

    Args:
        labels: (n,) class indices.
        probabilities: (n, classes).

    Returns:
        Figures of 0..1; auroc is NaN where the labels hold one class only.

    Raises:
        ValueError: no images, or a probability that is not finite.
    """
    everyone = np.zeros(len(labels), np.int64)  # one group: scores do not depend on patients
    found = values(tally(labels, probabilities, np.argmax(probabilities, axis=1), everyone))
    return {name: float(found[name][0]) for name in SCORES}


def confusion_matrix(labels: Ints, predictions: Ints, n_classes: int) -> Ints:
    """Counts (classes, classes), rows the labels, columns the predictions."""
    flat = np.bincount(np.asarray(labels) * n_classes + np.asarray(predictions), minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def per_class(labels: Ints, predictions: Ints, classes: tuple[str, ...]) -> list[dict[str, object]]:
    """`{class, recall, precision, f1, support, predicted}` for each class; None where nothing defines it."""
    confusion = confusion_matrix(labels, predictions, len(classes))
    rows: list[dict[str, object]] = []
    for k, name in enumerate(classes):
        hits, support, predicted = int(confusion[k, k]), int(confusion[k].sum()), int(confusion[:, k].sum())
        rows.append(
            {
                "class": name,
                "recall": hits / support if support else None,
                "precision": hits / predicted if predicted else None,
                "f1": 2 * hits / (support + predicted) if support + predicted else None,
                "support": support,
                "predicted": predicted,
            }
        )
    return rows


def plain(value: float) -> float | None:
    """A float that JSON can hold: None for NaN."""
    return None if np.isnan(value) else float(value)


def _sums(flat: Ints, rows: int, columns: int) -> Floats:
    return np.bincount(flat, minlength=rows * columns).reshape(rows, columns).astype(np.float64)
