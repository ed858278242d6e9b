"""Areas under the ROC and the precision-recall curve and points on them, for many weightings of the same images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


# Coverage of jackknife intervals in `docs/evaluation.md`.
STEPS = "the metric moves in steps: its intervals covered the true value too rarely or too often in simulations"


@dataclass(frozen=True)
class Ranking:
    """How one class's positives stand among its negatives: sorted once, weighted many times.

    Attributes:
        positives: rows of the positives, by falling score.
        negatives: rows of the negatives, by falling score.
        above: for each positive, how many negatives score strictly higher.
        level: for each positive, how many negatives score as high or higher.
        level_own: for each positive, how many positives score as high or higher, itself among them.
    """

    positives: npt.NDArray[np.int64]
    negatives: npt.NDArray[np.int64]
    above: npt.NDArray[np.int64]
    level: npt.NDArray[np.int64]
    level_own: npt.NDArray[np.int64]


def rank(positive: npt.NDArray[np.bool_], scores: Floats) -> Ranking:
    """The ranking of images by `scores` (n,), where `positive` (n,) says which are of the class."""
    order = np.argsort(-scores, kind="stable")
    positives, negatives = order[positive[order]], order[~positive[order]]
    of_positives, of_negatives = -scores[positives], -scores[negatives]
    return Ranking(
        positives,
        negatives,
        np.searchsorted(of_negatives, of_positives, side="left"),
        np.searchsorted(of_negatives, of_positives, side="right"),
        np.searchsorted(of_positives, of_positives, side="right"),
    )


def auroc(ranking: Ranking, weights: Floats) -> Floats:
    """Area under the ROC curve (R,) for each row of image `weights` (R, n); a tie counts one half.

    NaN where the positives or the negatives weigh nothing.
    """
    own, others = weights[:, ranking.positives], _running(weights[:, ranking.negatives])
    total = others[:, -1]
    higher = (others[:, ranking.above] + others[:, ranking.level]) / 2
    wins = np.einsum("rp,rp->r", own, total[:, None] - higher)
    return _divide(wins, own.sum(axis=1) * total)


def average_precision(ranking: Ranking, weights: Floats) -> Floats:
    """Average precision (R,), scikit-learn's step-wise sum, for each row of image `weights` (R, n).

    NaN where the positives weigh nothing.
    """
    own = weights[:, ranking.positives]
    true = _running(own)[:, ranking.level_own]
    false = _running(weights[:, ranking.negatives])[:, ranking.level]
    precision = np.divide(true, true + false, out=np.zeros_like(true), where=true + false > 0)
    return _divide(np.einsum("rp,rp->r", own, precision), own.sum(axis=1))


def sensitivity_at(ranking: Ranking, weights: Floats, specificity: float) -> Floats:
    """Highest sensitivity (R,) at a specificity of at least `specificity`, for each row of image `weights` (R, n).

    Each row chooses its own threshold among the scores. NaN where the positives or the negatives weigh nothing.
    """
    own, others = weights[:, ranking.positives], _running(weights[:, ranking.negatives])
    total = others[:, -1]
    allowed = (1 - specificity) * total * (1 + 1e-12)
    true = np.where(others[:, ranking.level] <= allowed[:, None], _running(own)[:, ranking.level_own], 0.0)
    return np.where(total > 0, _divide(true.max(axis=1), own.sum(axis=1)), np.nan)


def precision_recall_curve(positive: npt.NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """Recall and precision at every distinct score, by rising recall; the first point repeats the first precision."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    true = np.cumsum(positive[order])[last]
    recall, precision = true / max(true[-1], 1), true / (last + 1)
    return np.append(0.0, recall), np.append(precision[:1], precision)


def roc_curve(positive: npt.NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """False and true positive rates at every distinct score, from (0, 0) to (1, 1)."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    true, false = np.cumsum(positive[order])[last], np.cumsum(~positive[order])[last]
    return np.append(0.0, false / max(false[-1], 1)), np.append(0.0, true / max(true[-1], 1))


def _running(weights: Floats) -> Floats:
    sums = np.zeros((weights.shape[0], weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
