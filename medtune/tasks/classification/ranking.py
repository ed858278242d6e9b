"""ROC and precision-recall curves, and the areas under these curves for many weightings of the same images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


# Reason for a missing interval. docs/evaluation.md contains the coverage of the jackknife intervals in simulations.
STEPWISE = "the metric changes in steps: its intervals covered the true value too rarely or too often in simulations"


@dataclass(frozen=True)
class Ranking:
    """Order of the positives and negatives of one class, sorted once and weighted many times.

    Attributes:
        positives: row indices of the positives, by descending score.
        negatives: row indices of the negatives, by descending score.
        negatives_above: for each positive, the number of negatives with a higher score.
        negatives_at_or_above: for each positive, the number of negatives with an equal or higher score.
        positives_at_or_above: for each positive, the number of positives with an equal or higher score,
            including itself.
    """

    positives: npt.NDArray[np.int64]
    negatives: npt.NDArray[np.int64]
    negatives_above: npt.NDArray[np.int64]
    negatives_at_or_above: npt.NDArray[np.int64]
    positives_at_or_above: npt.NDArray[np.int64]


def rank(positive: npt.NDArray[np.bool_], scores: Floats) -> Ranking:
    """Rank images by `scores` (n,); `positive` (n,) is True for images of the class."""
    order = np.argsort(-scores, kind="stable")
    positives, negatives = order[positive[order]], order[~positive[order]]
    positive_scores, negative_scores = -scores[positives], -scores[negatives]
    return Ranking(
        positives,
        negatives,
        np.searchsorted(negative_scores, positive_scores, side="left"),
        np.searchsorted(negative_scores, positive_scores, side="right"),
        np.searchsorted(positive_scores, positive_scores, side="right"),
    )


def auroc(ranking: Ranking, weights: Floats) -> Floats:
    """Compute the area under the ROC curve for each weighting; a tie counts one half.

    Args:
        ranking: ranking of the images.
        weights: (R, n) weights of the images.

    Returns:
        (R,) areas; NaN if the weights of the positives or the negatives sum to 0.
    """
    positives, negatives = weights[:, ranking.positives], _cumulative_sums(weights[:, ranking.negatives])
    total = negatives[:, -1]
    higher = (negatives[:, ranking.negatives_above] + negatives[:, ranking.negatives_at_or_above]) / 2
    wins = np.einsum("rp,rp->r", positives, total[:, None] - higher)
    return _divide(wins, positives.sum(axis=1) * total)


def average_precision(ranking: Ranking, weights: Floats) -> Floats:
    """Compute the average precision, scikit-learn's step-wise sum, for each weighting.

    Args:
        ranking: ranking of the images.
        weights: (R, n) weights of the images.

    Returns:
        (R,) values; NaN if the weights of the positives sum to 0.
    """
    positives = weights[:, ranking.positives]
    true = _cumulative_sums(positives)[:, ranking.positives_at_or_above]
    false = _cumulative_sums(weights[:, ranking.negatives])[:, ranking.negatives_at_or_above]
    precision = np.divide(true, true + false, out=np.zeros_like(true), where=true + false > 0)
    return _divide(np.einsum("rp,rp->r", positives, precision), positives.sum(axis=1))


def sensitivity_at(ranking: Ranking, weights: Floats, specificity: float) -> Floats:
    """Compute the highest sensitivity at a minimum specificity for each weighting.

    Args:
        ranking: ranking of the images.
        weights: (R, n) weights of the images. The threshold is chosen per weighting.
        specificity: minimum specificity, 0..1.

    Returns:
        (R,) sensitivities; NaN if the weights of the positives or the negatives sum to 0.
    """
    positives, negatives = weights[:, ranking.positives], _cumulative_sums(weights[:, ranking.negatives])
    total = negatives[:, -1]
    allowed = (1 - specificity) * total * (1 + 1e-12)
    reached = negatives[:, ranking.negatives_at_or_above] <= allowed[:, None]
    true = np.where(reached, _cumulative_sums(positives)[:, ranking.positives_at_or_above], 0.0)
    return np.where(total > 0, _divide(true.max(axis=1), positives.sum(axis=1)), np.nan)


def precision_recall_curve(positive: npt.NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """Compute recall and precision at each distinct score, by ascending recall, with a first point at recall 0."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    true = np.cumsum(positive[order])[last]
    recall, precision = true / max(true[-1], 1), true / (last + 1)
    return np.append(0.0, recall), np.append(precision[:1], precision)


def roc_curve(positive: npt.NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """Compute the false and true positive rates at each distinct score, from (0, 0) to (1, 1)."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    true, false = np.cumsum(positive[order])[last], np.cumsum(~positive[order])[last]
    return np.append(0.0, false / max(false[-1], 1)), np.append(0.0, true / max(true[-1], 1))


def _cumulative_sums(weights: Floats) -> Floats:
    sums = np.zeros((weights.shape[0], weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
