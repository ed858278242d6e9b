"""Does a newly trained model replace the accepted one? A paired bootstrap over patients, and what both must pass.

Both models are scored on the same resamples of the same patients, whom neither was trained on; the new one is
promoted only where the lower end of the interval of the difference is above `gate.tolerance`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from medtune.config.errors import InputError
from medtune.config.schema import EvaluateParams, GateParams
from medtune.evaluation.bootstrap import Interval, interval, resampled
from medtune.evaluation.metric import Metric, PatientStats, compute


@dataclass(frozen=True)
class Limit:
    """A metric that must not be above `bound` for either model; `key` is the param that sets the bound."""

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
    seed: int,
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
        evaluate: resamples and their confidence.
        seed: of the resampling.
        positive: positive class of two, to name it.

    Raises:
        InputError: `metric` is not defined for the classes, as sensitivity of more than two.
    """
    if not metric.defined(challenger.stats):
        raise InputError(f"gate.metric={metric.name}: not defined for these classes. Choose another metric.")
    patients = challenger.stats.n_patients
    metrics = list(dict.fromkeys([metric, *(limit.metric for limit in limits)]))
    model_scores, scores = [], []
    for model in (challenger, *([champion] if champion else [])):
        whole = {name: float(value[0]) for name, value in compute(metrics, model.stats).items()}
        drawn = resampled(metrics, model.stats, evaluate.bootstrap, seed)
        ends = {name: interval(whole[name], drawn[name], evaluate.confidence) for name in whole}
        limited = {limit.metric.name: ends[limit.metric.name] for limit in limits}
        model_scores.append(ModelScores(model.name, ends[metric.name], limited, model.faults))
        scores.append((whole[metric.name], drawn[metric.name]))
    reasons = [reason for scored in model_scores for reason in _blocking_reasons(scored, limits)]
    difference = None
    if patients < gate.min_patients:
        reasons.append(
            f"{patients} test patients that neither model has seen; gate.min_patients is {gate.min_patients}"
        )
    if champion:
        (better, better_drawn), (worse, worse_drawn) = scores[
            :: metric.sign
        ]  # lower is better: champion less challenger
        difference = interval(better - worse, better_drawn - worse_drawn, evaluate.confidence)
        reasons += _insufficient_improvement(difference, gate, metric.name + metric.positive_note(positive))
    promoted = not reasons
    if promoted:
        reasons.append(_explain_promotion(difference, metric.name + metric.positive_note(positive)))
    return GateDecision(
        promoted,
        tuple(reasons),
        metric.name,
        gate.tolerance,
        difference,
        model_scores[0],
        model_scores[1] if champion else None,
        n_images,
        patients,
        positive=positive,
    )


def rejection(reasons: Sequence[str], gate: GateParams, notes: Sequence[str] = ()) -> GateDecision:
    """The decision where the two models cannot be compared."""
    return GateDecision(False, tuple(reasons), gate.metric, gate.tolerance, notes=tuple(notes))


def _blocking_reasons(model: ModelScores, limits: Sequence[Limit]) -> list[str]:
    reasons = [f"{model.name}: {fault}" for fault in model.faults]
    for limit in limits:
        value = model.limited[limit.metric.name].value
        if value is not None and value > limit.bound:
            reasons.append(f"{model.name}: {limit.metric.title} {value:.3f} is above {limit.key}={limit.bound:g}")
    return reasons


def _insufficient_improvement(difference: Interval, gate: GateParams, name: str) -> list[str]:
    if difference.value is None or difference.lo is None:
        return [f"the difference of {name} has no interval: {difference.reason}"]
    if difference.lo > gate.tolerance:
        return []
    return [
        f"{name} {difference.value:+.3f} against the champion, lower end {difference.lo:+.3f}, "
        f"is not above gate.tolerance {gate.tolerance:+g}"
    ]


def _explain_promotion(difference: Interval | None, name: str) -> str:
    if difference is None or difference.value is None or difference.lo is None:
        return "the first champion: it passed its own checks"
    return f"{name} {difference.value:+.3f} against the champion, lower end {difference.lo:+.3f}"


def _row(name: str, metric: Interval) -> dict[str, Any]:
    return {"figure": name, "value": metric.value, "lo": metric.lo, "hi": metric.hi}
