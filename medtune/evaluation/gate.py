"""The gate: decide whether a newly trained model (challenger) replaces the accepted one (champion).

Both models are evaluated on the same patients, who are in neither training set. The gate computes a paired jackknife
interval of the difference over these patients. The gate promotes the challenger only if the lower end of this interval
is above `gate.min_improvement`.

If both models are equally good, the challenger is promoted in at most (1 - `evaluate.confidence`) / 2 of cases. This is
2.5 % by default (docs/statistics.md). A report's interval may miss the true value more often on one side than on the
other. The gate uses only one side, so its interval is slightly wider.
"""

from collections.abc import Sequence
from dataclasses import replace

from medtune.config.errors import InputError
from medtune.config.schema import EvaluateParams, GateParams
from medtune.evaluation.gate_decision import GateDecision, Limit, ModelScores, ModelStats
from medtune.evaluation.intervals import Interval, intervals, paired_interval
from medtune.evaluation.metric import Metric, PatientStats
from medtune.evaluation.significance import detectable_difference

# `Metric.size_power` if all images of a patient have the same error.
SAME_ERROR_POWER = 2.0
# Fraction of the allowed error rate that the interval uses. The rest covers the approximation by the t-distribution.
ERROR_FRACTION = 0.9


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
    """Decide whether the challenger is promoted, from its predictions for images that neither model was trained on.

    Args:
        challenger: newly trained model.
        champion: accepted model, on the same images. If None, the challenger must only pass its own checks.
        n_images: number of images that both models are evaluated on.
        metric: metric that `gate.metric` names.
        limits: bounds that the metrics of both models must not exceed.
        gate: section `gate` of the params.
        evaluate: section `evaluate` of the params, for the confidence of the intervals.
        positive: positive class of a two-class task, which the reasons name; None in other tasks.

    Returns:
        The decision, with a reason for every check that failed.

    Raises:
        InputError: `metric` is not defined for these classes, for example sensitivity with more than two classes.
    """
    if not metric.defined(challenger.stats):
        raise InputError(f"gate.metric={metric.name}: not defined for these classes. Choose another metric.")
    metrics = list(dict.fromkeys([metric, *(limit.metric for limit in limits)]))
    model_scores = []
    for model in (challenger, *([champion] if champion else [])):
        by_name = intervals(metrics, model.stats, evaluate.confidence)
        limited = {limit.metric.name: by_name[limit.metric.name] for limit in limits}
        model_scores.append(ModelScores(model.name, by_name[metric.name], limited, model.faults))
    reasons = [reason for scores in model_scores for reason in _blocking_reasons(scores, limits)]
    difference = detectable = None
    fewest, of_rarest_class = _fewest_patients(challenger.stats)
    if fewest < gate.min_patients_per_class:
        reasons.append(
            f"gate.min_patients_per_class={gate.min_patients_per_class}: the number of test patients{of_rarest_class} "
            f"that neither model has seen is {fewest}. Add patients"
        )
    if champion:
        # Swapped if lower is better, so that a positive difference is always an improvement.
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
    """Compute the gate's intervals of `first` minus `second` by metric; arguments as in `paired_interval`."""
    return paired_interval([_cautious(metric) for metric in metrics], first, second, _stricter(confidence))


def _stricter(confidence: float) -> float:
    return 1 - ERROR_FRACTION * (1 - confidence)


def _cautious(metric: Metric) -> Metric:
    """Return the metric with fewer degrees of freedom, as if the images of a patient were more similar."""
    return replace(metric, size_power=min(metric.size_power + 1, SAME_ERROR_POWER))


def rejection(reasons: Sequence[str], gate: GateParams, notes: Sequence[str] = ()) -> GateDecision:
    """Return the decision for two models that cannot be compared."""
    return GateDecision(False, tuple(reasons), gate.metric, gate.min_improvement, notes=tuple(notes))


def _blocking_reasons(model: ModelScores, limits: Sequence[Limit]) -> list[str]:
    """Return the faults of a model, and a reason for each metric whose interval is beyond its limit."""
    reasons = [f"{model.name}: {fault}" for fault in model.faults]
    for limit in limits:
        metric = model.limited[limit.metric.name]
        if metric.value is None or metric.lo is None or metric.hi is None:
            continue
        if metric.lo > limit.bound or metric.hi < -limit.bound:
            nearest = min(abs(metric.lo), abs(metric.hi))
            reasons.append(
                f"{model.name}: {limit.metric.title} is {metric.value:+.3f} ({metric.lo:+.3f} to {metric.hi:+.3f}). "
                f"The interval is at least {nearest:.3f} from 0, above {limit.key}={limit.bound:g}"
            )
    return reasons


def _fewest_patients(stats: PatientStats) -> tuple[int, str]:
    """Return the number of patients of the rarest class that has patients, and a phrase for messages.

    In a task without classes, the number is that of all patients and the phrase is empty.
    """
    count = getattr(stats, "patients_per_class", None)
    counts = [n for n in count().tolist() if n] if count is not None else []
    return (min(counts), " of the rarest class") if counts else (stats.n_patients, "")


def _insufficient_improvement(difference: Interval, detectable: float | None, gate: GateParams, name: str) -> list[str]:
    """Return the reason why the improvement is too small; an empty list if it is large enough."""
    if difference.value is None or difference.lo is None:
        return [f"the difference of {name} has no interval ({difference.reason})"]
    if difference.lo > gate.min_improvement:
        return []
    power = (
        ""
        if detectable is None
        else f". With this many patients, a difference of {detectable:.3f} is detected with a power of 80 %"
    )
    return [
        f"the improvement of {name} over the champion is {difference.value:+.3f}, and its lower confidence bound "
        f"is {difference.lo:+.3f}. The bound must be above gate.min_improvement={gate.min_improvement:g}{power}"
    ]


def _explain_promotion(difference: Interval | None, name: str) -> str:
    if difference is None or difference.value is None or difference.lo is None:
        return "no champion yet, and the model passed its own checks"
    return (
        f"the improvement of {name} over the champion is {difference.value:+.3f}, with a lower confidence bound of "
        f"{difference.lo:+.3f}"
    )
