"""Calibration of the voxel probabilities on test volumes, with intervals over patients.

The expected calibration error (Naeini et al., AAAI 2015) is the mean difference between confidence and accuracy over
bins of the confidence. All patients have the same weight. All volumes of a patient have the same weight, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medtune.data.class_selection import list_names
from medtune.evaluation.intervals import intervals
from medtune.evaluation.metric import Floats, Metric
from medtune.evaluation.plot_file import COLORS, GRAY, plot_file
from medtune.tasks.segmentation.calibration_sums import BINS, SHAPE
from medtune.tasks.segmentation.folds import SegmentationFold
from medtune.tasks.segmentation.patient_means import patient_means
from medtune.tasks.segmentation.temperature_grid import HIGHEST, LOWEST
from medtune.tasks.segmentation.volume_predictions import VolumePredictions

STATES = ("before", "after")


@dataclass(frozen=True)
class VoxelStats:
    """Calibration sums of test volumes, averaged per patient.

    Attributes:
        sums: (patients, WIDTH) mean of `calibration_sums` over the volumes of each patient.
    """

    sums: Floats

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return len(self.sums)

    @property
    def width(self) -> int:
        """Number of values that `weighted` reads for one weighting: `WIDTH` per patient."""
        return self.sums.size

    def weighted(self, weights: Floats) -> Floats:
        """Return the weighted mean (R, WIDTH) over patients, for weights (R, patients)."""
        return np.asarray(weights @ self.sums / weights.sum(axis=1, keepdims=True))


def _error(sums: Floats, state: int) -> Floats:
    """Compute the expected calibration error (R,) before (0) or after (1) scaling."""
    bins = sums[:, : np.prod(SHAPE)].reshape(-1, *SHAPE)[:, state]
    return np.asarray(np.abs(bins[:, 2] - bins[:, 1]).sum(axis=1))


def _nll(sums: Floats, state: int) -> Floats:
    """Return the negative log-likelihood (R,), from the last two columns, before (0) or after (1) scaling."""
    return np.asarray(sums[:, state - 2])


METRICS = tuple(
    Metric(
        f"{name}_{when}", f"{title} {when} scaling", "min", partial(formula, state=state), bounds=bounds, skewed=True
    )
    for name, title, formula, bounds in (
        ("ece", "expected calibration error", _error, (0.0, 1.0)),
        ("nll", "negative log-likelihood", _nll, (0.0, np.inf)),
    )
    for state, when in enumerate(STATES)
)


def calibration_facts(
    folds: Sequence[SegmentationFold], pooled: VolumePredictions, confidence: float
) -> dict[str, Any] | None:
    """Describe the calibration of the test volumes.

    Args:
        folds: results of the folds; empty if a bundle (an exported model) is evaluated.
        pooled: predictions of the test volumes of these folds.
        confidence: confidence level of the intervals, 0..1.

    Returns:
        JSON values: `folds`, one entry `{fold, temperature, at_bound, patients}` per fold; `test`, the intervals of
        `METRICS`; `reliability`, the bins before and after scaling; and `n_volumes`. None if no volume has a voxel
        sample, as in the evaluation of a bundle.
    """
    known = np.isfinite(pooled.calibration).all(axis=1)
    if not known.any():
        return None
    sums, patients = pooled.calibration[known], pooled.patient_ids[known]
    stats = VoxelStats(patient_means(sums, patients))
    bins = stats.weighted(np.ones((1, stats.n_patients)))[0, : np.prod(SHAPE)].reshape(SHAPE)
    return {
        "folds": [
            {
                "fold": fold.fold,
                "temperature": fold.rules.temperature.value,
                "at_bound": fold.rules.temperature.at_bound,
                "patients": fold.rules.temperature.patients,
            }
            for fold in folds
        ],
        "test": {name: interval.as_dict() for name, interval in intervals(METRICS, stats, confidence).items()},
        "reliability": {when: _rows(bins[state]) for state, when in enumerate(STATES)},
        "n_volumes": int(known.sum()),
    }


def calibration_warnings(facts: Mapping[str, Any] | None) -> list[str]:
    """Return a warning if a fitted temperature is at a limit of its range; `facts` is from `calibration_facts`."""
    at_bound = [f"fold {row['fold']}" for row in facts["folds"] if row["at_bound"]] if facts else []
    if not at_bound:
        return []
    return [
        f"The temperature of {list_names(at_bound)} is at a limit of its range ({LOWEST:g} to {HIGHEST:g}): the "
        "probabilities are far from calibrated, and the uncertainty may be too low or too high."
    ]


def draw_reliability(path: Path, facts: dict[str, Any], title: str, point: str = "voxel") -> None:
    """Draw the accuracy of bins against their confidence, before and after scaling. Full bins have large markers.

    Args:
        path: PNG file to write.
        facts: result of `calibration_facts`.
        title: second line of the title.
        point: word for a voxel, such as `voxel` or `pixel`.
    """
    with plot_file(path, (4.6, 4.4)) as axes:
        axes.plot([0, 1], [0, 1], color=GRAY, lw=0.8, ls=":")
        for when, marker, color in (("before", "o", COLORS[1]), ("after", "s", COLORS[0])):
            rows = facts["reliability"][when]
            x, y = [row["confidence"] for row in rows], [row["accuracy"] for row in rows]
            area = [12 + 160 * row["fraction"] for row in rows]
            axes.plot(x, y, lw=1.0, color=color)
            label = f"{when} temperature scaling"
            axes.scatter(x, y, s=area, marker=marker, color=color, label=label, zorder=3, alpha=0.85, clip_on=False)
        axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        axes.set_aspect("equal")
        axes.set_title(f"Reliability of the predicted label of a {point}\n{title}")
        axes.legend(loc="upper left", frameon=False, markerscale=0.6)


def _rows(bins: Floats) -> list[dict[str, float]]:
    """Convert the sums (3, BINS) to `{lower, upper, fraction, confidence, accuracy}` for each bin that has voxels."""
    fraction, confidence, correct = bins
    return [
        {
            "lower": k / BINS,
            "upper": (k + 1) / BINS,
            "fraction": float(fraction[k]),
            "confidence": float(confidence[k] / fraction[k]),
            "accuracy": float(correct[k] / fraction[k]),
        }
        for k in np.flatnonzero(fraction).tolist()
    ]
