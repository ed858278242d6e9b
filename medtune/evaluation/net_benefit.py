"""Decision curves: net benefit of acting on a model's probability (Vickers and Elkin 2006, "Decision curve analysis").

A decision maker acts if the probability is at least the threshold t. One false positive then costs t / (1 - t) of the
value of one true positive. Let TP and FP be the numbers of true and false positives among n images. The net benefit is
TP / n - FP / n * t / (1 - t). Never acting has the net benefit 0. A model is useful at t only if its net benefit is
above 0 and above that of acting on every image. The net benefit depends on the prevalence in the images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medtune.evaluation.tables import write_csv

Floats = npt.NDArray[np.float64]
THRESHOLDS: Floats = np.arange(1, 100) / 100


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit per image at each of `THRESHOLDS`.

    Attributes:
        model: (99,) net benefit of acting if the probability reaches the threshold.
        treat_all: (99,) net benefit of acting on every image.
    """

    model: Floats
    treat_all: Floats

    @property
    def useful(self) -> npt.NDArray[np.bool_]:
        """(99,) True where the net benefit of the model is above that of acting on all images and above 0."""
        return self.model > np.maximum(self.treat_all, 0)


def decision_curve(positive: npt.NDArray[np.bool_], probabilities: Floats) -> DecisionCurve:
    """Compute the net benefit of calibrated probabilities.

    Args:
        positive: (n,) True if the image is positive.
        probabilities: (n,) calibrated probabilities that the image is positive.

    Returns:
        The decision curve.
    """
    odds, prevalence = THRESHOLDS / (1 - THRESHOLDS), float(positive.mean())
    acted = probabilities[None, :] >= THRESHOLDS[:, None]
    true, false = (acted & positive).mean(axis=1), (acted & ~positive).mean(axis=1)
    return DecisionCurve(true - false * odds, prevalence - (1 - prevalence) * odds)


def useful_range(curve: DecisionCurve) -> list[float] | None:
    """Return the ends of the longest range of thresholds in which the model is useful; None if there is none."""
    best: list[float] | None = None
    start, length = 0, 0
    for position, useful in enumerate([*curve.useful.tolist(), False]):
        if useful:
            continue
        if position - start > length:
            length, best = position - start, [float(THRESHOLDS[start]), float(THRESHOLDS[position - 1])]
        start = position + 1
    return best


def write_decision_curves(path: Path, curves: Mapping[str, DecisionCurve]) -> None:
    """Write a CSV file with columns `class,threshold,model,treat_all,treat_none`, one line per class and threshold."""
    rows = (
        [name, f"{threshold:.2f}", f"{model:.6g}", f"{everyone:.6g}", "0"]
        for name, curve in curves.items()
        for threshold, model, everyone in zip(THRESHOLDS, curve.model, curve.treat_all, strict=True)
    )
    write_csv(path, ["class", "threshold", "model", "treat_all", "treat_none"], rows)
