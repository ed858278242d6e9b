"""Does a newly trained model replace the accepted one? A paired bootstrap over patients, and what both must pass.

Both models are scored on the same resamples of the same patients, whom neither was trained on; the new one is
promoted only where the lower end of the interval of the difference is above `gate.tolerance`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams, GateParams
from medtune.evaluation.bootstrap import Interval, interval, resamples
from medtune.tasks.classification.metrics import Ints, tally, values
from medtune.tasks.classification.ranking import Floats


@dataclass(frozen=True)
class Said:
    """One model's answers to the common test images.

    Attributes:
        name: of its bundle.
        probabilities: (n, classes).
        predictions: (n,) class indices by its own decision rule.
        faults: what its parity check found; empty where it passed.
    """

    name: str
    probabilities: Floats
    predictions: Ints
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Side:
    """One model's figures on the common patients."""

    name: str
    score: Interval
    ece: Interval
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Decision:
    """What the gate decided, with its figures.

    Attributes:
        promoted: the challenger becomes the champion.
        reasons: why, sentences; of a refusal, everything that stood against it.
        metric: the metric compared.
        tolerance: what the difference's lower end had to be above.
        difference: challenger less champion, paired over patients; None without a champion or common patients.
        challenger, champion: their figures; None where there was none or nothing to score.
        n_images, n_patients: compared on.
        notes: what was left out of the comparison, and why.
    """

    promoted: bool
    reasons: tuple[str, ...]
    metric: str
    tolerance: float
    difference: Interval | None = None
    challenger: Side | None = None
    champion: Side | None = None
    n_images: int = 0
    n_patients: int = 0
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values: for the bundle, the history and the dashboards."""
        return asdict(self)

    def rows(self) -> list[dict[str, Any]]:
        """One row a figure, for tables."""
        sides = [("challenger", self.challenger), ("champion", self.champion)]
        rows = [
            _row(f"{who} {what}", figure)
            for who, side in sides
            if side is not None
            for what, figure in ((self.metric, side.score), ("ece", side.ece))
        ]
        return rows if self.difference is None else [*rows, _row(f"difference of {self.metric}", self.difference)]


def judge(
    labels: Ints,
    groups: npt.NDArray,
    challenger: Said,
    champion: Said | None,
    gate: GateParams,
    evaluate: EvaluateParams,
    seed: int,
) -> Decision:
    """The decision on images that neither model was trained on.

    Args:
        labels: (n,) class indices.
        groups: (n,) patients.
        challenger: the new model's answers.
        champion: the accepted model's; None: there is none yet, and the new one must only pass its own checks.
        gate: what is asked.
        evaluate: resamples, their confidence, and bins of the calibration error.
        seed: of the resampling.
    """
    patients = len(np.unique(groups))
    sides, drawn = [], []
    for said in (challenger, *([champion] if champion else [])):
        sums = tally(labels, said.probabilities, said.predictions, groups, evaluate.ece_bins)
        whole = {name: float(value[0]) for name, value in values(sums).items()}
        found: dict[str, list[Floats]] = {gate.metric: [], "ece": []}
        for weights in resamples(sums.n_groups, evaluate.bootstrap, seed, len(sums.member)):
            resampled = values(sums, weights)
            for name, parts in found.items():
                parts.append(resampled[name])
        joined = {name: np.concatenate(parts) for name, parts in found.items()}
        ends = {name: interval(whole[name], joined[name], evaluate.confidence) for name in found}
        sides.append(Side(said.name, ends[gate.metric], ends["ece"], said.faults))
        drawn.append((whole[gate.metric], joined[gate.metric]))
    reasons = [reason for side in sides for reason in _against(side, gate)]
    difference = None
    if patients < gate.min_patients:
        reasons.append(
            f"{patients} test patients that neither model has seen; gate.min_patients is {gate.min_patients}"
        )
    if champion:
        difference = interval(drawn[0][0] - drawn[1][0], drawn[0][1] - drawn[1][1], evaluate.confidence)
        reasons += _too_small(difference, gate)
    promoted = not reasons
    if promoted:
        reasons.append(_for(difference, gate))
    return Decision(
        promoted, tuple(reasons), gate.metric, gate.tolerance, difference, sides[0], sides[1] if champion else None,
        len(labels), patients,
    )  # fmt: skip


def refused(reasons: Sequence[str], gate: GateParams, notes: Sequence[str] = ()) -> Decision:
    """The decision where the two models cannot be compared."""
    return Decision(False, tuple(reasons), gate.metric, gate.tolerance, notes=tuple(notes))


def _against(side: Side, gate: GateParams) -> list[str]:
    found = [f"{side.name}: {fault}" for fault in side.faults]
    if side.ece.value is not None and side.ece.value > gate.max_ece:
        found.append(f"{side.name}: calibration error {side.ece.value:.3f} is above gate.max_ece {gate.max_ece:g}")
    return found


def _too_small(difference: Interval, gate: GateParams) -> list[str]:
    if difference.value is None or difference.lo is None:
        return [f"the difference of {gate.metric} has no interval: {difference.reason}"]
    if difference.lo > gate.tolerance:
        return []
    return [
        f"{gate.metric} {difference.value:+.3f} against the champion, lower end {difference.lo:+.3f}, "
        f"is not above gate.tolerance {gate.tolerance:+g}"
    ]


def _for(difference: Interval | None, gate: GateParams) -> str:
    if difference is None or difference.value is None or difference.lo is None:
        return "the first champion: it passed its own checks"
    return f"{gate.metric} {difference.value:+.3f} against the champion, lower end {difference.lo:+.3f}"


def _row(what: str, figure: Interval) -> dict[str, Any]:
    return {"figure": what, "value": figure.value, "lo": figure.lo, "hi": figure.hi}
