"""Does a newly trained model replace the accepted one? A paired interval over patients, and what both must pass.

Both models are scored without the same patient each time, whom neither was trained on; the new one is promoted only
where the lower end of the interval of the difference is above `gate.min_improvement`. Of two equally good models the
new one is promoted in at most half of 1 - `evaluate.confidence`, 2.5 % (docs/statistics.md). This interval is slightly
wider than a report's, because there an interval may err to both sides and here only to one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from medtune.config.errors import InputError
from medtune.config.schema import EvaluateParams, GateParams
from medtune.evaluation.intervals import Interval, intervals, paired_interval
from medtune.evaluation.metric import Metric, PatientStats
from medtune.evaluation.significance import detectable_difference

# `Metric.size_power` where all images of a patient have the same error.
IMAGES_ALIKE = 2.0
# Share of the errors that `evaluate.confidence` allows: what is left covers that the t-distribution is approximate.
ERRORS_USED = 0.9


@dataclass(frozen=True)
class Limit:
    """A metric that must not be shown to be further from 0 than `bound`; `key` is the param that sets the bound."""

    metric: Metric
    bound: float
    key: str


@dataclass(frozen=True)
class ModelStats:
    """One model on the common test images.

    Attributes:
        name: of its bundle.
        stats: of its predictions by patient, as its own decision rule makes them.
        faults: what its parity check found; empty where it passed.
    """

    name: str
    stats: PatientStats
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelScores:
    """One model's metrics on the common patients.

    Attributes:
        name: of its bundle.
        score: the metric compared.
        limited: the metrics that have a limit, by name.
        faults: what its parity check found.
    """

    name: str
    score: Interval
    limited: dict[str, Interval] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class GateDecision:
    """What the gate decided, with its figures.

    Attributes:
        promoted: the challenger becomes the champion.
        reasons: why, sentences; of a refusal, everything that stood against it.
        metric: the metric compared.
        tolerance: what the difference's lower end had to be above.
        difference: by how much the challenger is better, paired over patients: challenger less champion, or the
            reverse where lower is better; None without a champion or common patients.
        challenger, champion: their figures; None where there was none or nothing to score.
        detectable: difference that as many patients of the same kind show in four of five cases; None where there is
            no interval.
        n_images, n_patients: compared on.
        notes: what was left out of the comparison, and why.
        positive: positive class of two, which the metrics are about; None where there is none.
    """

    promoted: bool
    reasons: tuple[str, ...]
    metric: str
    tolerance: float
    difference: Interval | None = None
    challenger: ModelScores | None = None
    champion: ModelScores | None = None
    detectable: float | None = None
    n_images: int = 0
    n_patients: int = 0
    notes: tuple[str, ...] = ()
    positive: str | None = None

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
            for what, figure in ((self.metric, side.score), *side.limited.items())
        ]
        return rows if self.difference is None else [*rows, _row(f"difference of {self.metric}", self.difference)]


def decide(
    challenger: ModelStats,
    champion: ModelStats | None,
    n_images: int,
    metric: Metric,
    limits: Sequence[Limit],
    gate: GateParams,
    evaluate: EvaluateParams,
    positive: str | None = None,
) -> GateDecision:
    """Decide on images that neither model was trained on.

    Args:
        challenger: the new model.
        champion: the accepted model, on the same images; None: there is none yet, and the new one must only pass its
            own checks.
        n_images: the images that both were scored on.
        metric: the one that `gate.metric` names.
        limits: bounds that both models must keep.
        gate: what is asked.
        evaluate: confidence of the intervals.
        positive: positive class of two, to name it.

    Raises:
        InputError: `metric` is not defined for the classes, as sensitivity of more than two.
    """
    if not metric.defined(challenger.stats):
        raise InputError(f"gate.metric={metric.name}: not defined for these classes. Choose another metric.")
    metrics = list(dict.fromkeys([metric, *(limit.metric for limit in limits)]))
    model_scores = []
    for model in (challenger, *([champion] if champion else [])):
        found = intervals(metrics, model.stats, evaluate.confidence)
        limited = {limit.metric.name: found[limit.metric.name] for limit in limits}
        model_scores.append(ModelScores(model.name, found[metric.name], limited, model.faults))
    reasons = [reason for scored in model_scores for reason in _blocking_reasons(scored, limits)]
    difference = detectable = None
    fewest, of_a_class = _fewest_patients(challenger.stats)
    if fewest < gate.min_patients_per_class:
        reasons.append(
            f"{fewest} test patients{of_a_class} that neither model has seen; gate.min_patients_per_class is "
            f"{gate.min_patients_per_class}"
        )
    if champion:
        # Lower is better: champion less challenger.
        better, worse = (challenger.stats, champion.stats)[:: metric.sign]
        difference = compare([metric], better, worse, evaluate.confidence)[metric.name]
        detectable = detectable_difference(_cautious(metric), better, worse, _stricter(evaluate.confidence))
        reasons += _insufficient_improvement(difference, detectable, gate, metric.name + metric.positive_note(positive))
    promoted = not reasons
    if promoted:
        reasons.append(_explain_promotion(difference, metric.name + metric.positive_note(positive)))
    return GateDecision(
        promoted,
        tuple(reasons),
        metric.name,
        gate.min_improvement,
        difference,
        model_scores[0],
        model_scores[1] if champion else None,
        detectable,
        n_images,
        challenger.stats.n_patients,
        positive=positive,
    )


def compare(
    metrics: Sequence[Metric], first: PatientStats, second: PatientStats, confidence: float
) -> dict[str, Interval]:
    """Compute the gate's intervals of differences, `first` less `second`, by metric; arguments as `paired_interval`."""
    return paired_interval([_cautious(metric) for metric in metrics], first, second, _stricter(confidence))


def _stricter(confidence: float) -> float:
    return 1 - ERRORS_USED * (1 - confidence)


def _cautious(metric: Metric) -> Metric:
    """Return the metric with fewer degrees of freedom: images of a patient count as more alike."""
    return replace(metric, size_power=min(metric.size_power + 1, IMAGES_ALIKE))


def rejection(reasons: Sequence[str], gate: GateParams, notes: Sequence[str] = ()) -> GateDecision:
    """The decision where the two models cannot be compared."""
    return GateDecision(False, tuple(reasons), gate.metric, gate.min_improvement, notes=tuple(notes))


def _blocking_reasons(model: ModelScores, limits: Sequence[Limit]) -> list[str]:
    reasons = [f"{model.name}: {fault}" for fault in model.faults]
    for limit in limits:
        one = model.limited[limit.metric.name]
        if one.value is None or one.lo is None or one.hi is None:
            continue
        if one.lo > limit.bound or one.hi < -limit.bound:
            nearest = min(abs(one.lo), abs(one.hi))
            reasons.append(
                f"{model.name}: {limit.metric.title} is {one.value:+.3f} ({one.lo:+.3f} to {one.hi:+.3f}): at least "
                f"{nearest:.3f} from 0, above {limit.key}={limit.bound:g}"
            )
    return reasons


def _fewest_patients(stats: PatientStats) -> tuple[int, str]:
    """Patients of the rarest class that the images show, and how a sentence names them; all without classes."""
    count = getattr(stats, "patients_per_class", None)
    shown = [n for n in count().tolist() if n] if count is not None else []
    return (min(shown), " of the rarest class") if shown else (stats.n_patients, "")


def _insufficient_improvement(difference: Interval, detectable: float | None, gate: GateParams, name: str) -> list[str]:
    if difference.value is None or difference.lo is None:
        return [f"the difference of {name} has no interval: {difference.reason}"]
    if difference.lo > gate.min_improvement:
        return []
    power = "" if detectable is None else f"; so many patients show a difference of {detectable:.3f} in 4 of 5 cases"
    return [
        f"{name} {difference.value:+.3f} against the champion, lower end {difference.lo:+.3f}, "
        f"is not above gate.min_improvement {gate.min_improvement:+g}{power}"
    ]


def _explain_promotion(difference: Interval | None, name: str) -> str:
    if difference is None or difference.value is None or difference.lo is None:
        return "the first champion: it passed its own checks"
    return f"{name} {difference.value:+.3f} against the champion, lower end {difference.lo:+.3f}"


def _row(name: str, metric: Interval) -> dict[str, Any]:
    return {"figure": name, "value": metric.value, "lo": metric.lo, "hi": metric.hi}
