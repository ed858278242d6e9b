"""Inputs and result of the gate: limits of metrics, statistics of the two models and the decision."""

from dataclasses import asdict, dataclass, field
from typing import Any

from medtune.evaluation.intervals import Interval
from medtune.evaluation.metric import Metric, PatientStats


@dataclass(frozen=True)
class Limit:
    """Largest allowed distance of a metric from 0.

    A model is rejected only if the complete confidence interval is beyond the bound.

    Attributes:
        metric: limited metric.
        bound: largest allowed distance from 0.
        key: param that sets the bound.
    """

    metric: Metric
    bound: float
    key: str


@dataclass(frozen=True)
class ModelStats:
    """Statistics of one model on the common test images.

    Attributes:
        name: name of the bundle.
        stats: statistics per patient of the predictions, made with the decision rule of the model.
        faults: problems found by the self-test and the parity check of the bundle; empty if both passed.
    """

    name: str
    stats: PatientStats
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelScores:
    """Metrics of one model on the common patients.

    Attributes:
        name: name of the bundle.
        score: compared metric.
        limited: metrics that have a limit, by name.
        faults: problems found by the self-test and the parity check of the bundle.
    """

    name: str
    score: Interval
    limited: dict[str, Interval] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class GateDecision:
    """Decision of the gate and the metrics behind it.

    Attributes:
        promoted: True if the challenger becomes the champion.
        reasons: reasons as sentences. A rejection lists every reason.
        metric: name of the compared metric.
        min_improvement: bound that the lower end of the difference must exceed.
        difference: improvement over the champion, paired by patient: challenger minus champion, or champion minus
            challenger if lower is better. None without a champion or common patients.
        challenger: metrics of the challenger; None if it was not evaluated.
        champion: metrics of the champion; None without a champion or if the champion was not evaluated.
        detectable: difference that this number of patients detects with a power of 80 %; None without an interval.
        n_images: number of compared images.
        n_patients: number of compared patients.
        notes: patients or images left out of the comparison, with reasons.
        positive: positive class of a two-class task; None in other tasks.
    """

    promoted: bool
    reasons: tuple[str, ...]
    metric: str
    min_improvement: float
    difference: Interval | None = None
    challenger: ModelScores | None = None
    champion: ModelScores | None = None
    detectable: float | None = None
    n_images: int = 0
    n_patients: int = 0
    notes: tuple[str, ...] = ()
    positive: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Convert to JSON values for the bundle, the history and the dashboards."""
        return asdict(self)

    def rows(self) -> list[dict[str, Any]]:
        """Return table rows, one per metric of each model and one for the difference."""
        models = [("challenger", self.challenger), ("champion", self.champion)]
        rows = [
            _row(f"{role} {name}", interval)
            for role, scores in models
            if scores is not None
            for name, interval in ((self.metric, scores.score), *scores.limited.items())
        ]
        return rows if self.difference is None else [*rows, _row(f"difference of {self.metric}", self.difference)]


def _row(name: str, metric: Interval) -> dict[str, Any]:
    return {"metric": name, "value": metric.value, "lo": metric.lo, "hi": metric.hi}
