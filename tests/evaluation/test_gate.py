import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.config.schema import EvaluateParams, GateParams
from medtune.evaluation.gate import decide, rejection
from medtune.evaluation.gate_decision import Limit, ModelStats
from medtune.tasks.classification.metrics import METRICS
from medtune.tasks.classification.statistics import accumulate

EVALUATE = EvaluateParams()
PATIENTS, IMAGES_PER_PATIENT = 24, 4
METRIC = {metric.name: metric for metric in METRICS}


def cohort() -> tuple[np.ndarray, np.ndarray]:
    of_patient = np.arange(PATIENTS) % 2
    return np.repeat(of_patient, IMAGES_PER_PATIENT), np.repeat(
        [f"p{n:02d}" for n in range(PATIENTS)], IMAGES_PER_PATIENT
    )


def model(name: str, wrong: np.ndarray, sure: float = 0.95, faults: tuple[str, ...] = ()) -> ModelStats:
    """Return predictions with confidence `sure` that are correct except for the patients at `wrong`."""
    labels, patients = cohort()
    predictions = np.where(np.isin(np.repeat(np.arange(PATIENTS), IMAGES_PER_PATIENT), wrong), 1 - labels, labels)
    probabilities = np.where(np.arange(2) == predictions[:, None], sure, 1 - sure)
    return ModelStats(name, accumulate(labels, probabilities, predictions, patients), faults)


def judge(challenger: ModelStats, champion: ModelStats | None, gate: GateParams, metric: str = "balanced_accuracy"):
    limits = [Limit(METRIC["confidence_gap"], gate.max_confidence_gap, "gate.max_confidence_gap")]
    images = int(challenger.stats.confusion.sum())
    return decide(challenger, champion, images, METRIC[metric], limits, gate, EVALUATE)


def decide_between(new_wrong: range, old_wrong: range | None, gate: GateParams | None = None, **new: object):
    champion = None if old_wrong is None else model("old", np.array(old_wrong))
    return judge(model("new", np.array(new_wrong), **new), champion, gate or GateParams(max_confidence_gap=0.6))


def test_decide__significantly_better_model_is_promoted():
    decision = decide_between(range(0), range(12))
    assert decision.promoted
    assert decision.difference.value == pytest.approx(0.5)
    assert 0 < decision.difference.lo < 0.5 < decision.difference.hi
    assert (decision.n_images, decision.n_patients) == (PATIENTS * IMAGES_PER_PATIENT, PATIENTS)
    assert [row["metric"] for row in decision.rows()] == [
        "challenger balanced_accuracy", "challenger confidence_gap",
        "champion balanced_accuracy", "champion confidence_gap", "difference of balanced_accuracy",
    ]  # fmt: skip
    assert "over the champion is +0.500" in decision.reasons[0]


@pytest.mark.parametrize(("metric", "has_positive"), [("sensitivity", True), ("auroc", True), ("accuracy", False)])
def test_decide__names_the_positive_class(metric, has_positive):
    gate = GateParams(max_confidence_gap=0.6, metric=metric)
    models = model("new", np.arange(0)), model("old", np.arange(12))
    images = int(models[0].stats.confusion.sum())
    decision = decide(*models, images, METRIC[metric], [], gate, EVALUATE, positive="cancer")
    assert decision.as_dict()["positive"] == "cancer"
    assert (f"{metric} (positive: cancer) " in decision.reasons[0]) is has_positive


@pytest.mark.parametrize(("new", "old"), [(range(12), range(0)), (range(4), range(4)), (range(3), range(4))])
def test_decide__no_significant_improvement_is_rejected(new, old):
    decision = decide_between(new, old)
    assert not decision.promoted
    assert "must be above gate.min_improvement=0" in decision.reasons[0]


def test_decide__negative_min_improvement_accepts_an_equal_model():
    assert decide_between(range(4), range(4), GateParams(min_improvement=-0.2, max_confidence_gap=0.6)).promoted
    assert not decide_between(range(4), range(4), GateParams(min_improvement=-0.1, max_confidence_gap=0.6)).promoted
    assert not decide_between(range(9), range(4), GateParams(min_improvement=-0.2, max_confidence_gap=0.6)).promoted


def test_decide__pairs_patients():
    """Models with errors on the same patients: no difference, even if their intervals are wide."""
    decision = decide_between(range(8), range(8))
    assert decision.difference.value == 0
    assert decision.difference.hi == pytest.approx(1 - 0.0225 ** (1 / 24))
    assert decision.challenger.score.hi - decision.challenger.score.lo > 0.2


@pytest.mark.parametrize("blocked", ["new", "old"])
def test_decide__calibration_or_parity_of_either_model_blocks(blocked):
    sides = {"new": model("new", np.arange(0)), "old": model("old", np.arange(12), sure=0.55)}
    assert judge(sides["new"], sides["old"], GateParams()).promoted
    wrong = np.arange(0 if blocked == "new" else 12)
    miscalibrated = sides | {blocked: model(blocked, wrong, sure=0.55 if blocked == "new" else 0.95)}
    decision = judge(miscalibrated["new"], miscalibrated["old"], GateParams())
    assert not decision.promoted
    assert decision.reasons[0].startswith(
        f"{blocked}: confidence minus accuracy is -0.4"
        if blocked == "new"
        else f"{blocked}: confidence minus accuracy is"
    )
    faulty = sides | {blocked: model(blocked, wrong, 0.95 if blocked == "new" else 0.55, ("fp16 samples are off",))}
    decision = judge(faulty["new"], faulty["old"], GateParams())
    assert decision.reasons == (f"{blocked}: fp16 samples are off",)


def test_decide__first_model_needs_only_checks_without_champion():
    decision = decide_between(range(20), None, GateParams(max_confidence_gap=1))
    assert decision.promoted
    assert decision.difference is None
    assert not decide_between(range(20), None, GateParams(max_confidence_gap=0.1)).promoted


def test_decide__too_few_patients_are_a_rejection():
    decision = decide_between(range(0), range(12), GateParams(max_confidence_gap=0.6, min_patients_per_class=13))
    assert decision.reasons == (
        "gate.min_patients_per_class=13: the number of test patients of the rarest class that neither model has seen "
        "is 12. Add patients",
    )


def test_decide__one_patient_is_a_rejection():
    labels = np.array([0, 1, 1])
    better, worse = (
        ModelStats(name, accumulate(labels, np.eye(2)[result], result, np.array(["p", "p", "p"])))
        for name, result in (("new", labels), ("old", 1 - labels))
    )
    decision = judge(better, worse, GateParams(max_confidence_gap=1))
    assert decision.reasons == (
        "gate.min_patients_per_class=3: the number of test patients of the rarest class that neither model has seen "
        "is 1. Add patients",
        "the difference of balanced_accuracy has no interval (1 patient, but an interval needs 5)",
    )


def test_decide__lower_is_better_for_an_error():
    sure, unsure = model("new", np.arange(0), sure=0.99), model("old", np.arange(2), sure=0.6)
    decision = judge(sure, unsure, GateParams(max_confidence_gap=1), "brier")
    assert decision.promoted
    assert decision.difference.value == pytest.approx((22 * 0.16 + 2 * 0.36) / 24 - 0.0001)
    assert not judge(unsure, sure, GateParams(max_confidence_gap=1), "brier").promoted


def test_rejection__has_reasons():
    decision = rejection(["classes differ"], GateParams(), ["left out"])
    assert not decision.promoted
    assert decision.as_dict()["notes"] == ("left out",)
    assert decision.rows() == []


def test_decide__undefined_metric_is_an_error():
    with pytest.raises(InputError, match=r"gate\.metric=quadratic_weighted_kappa: not defined"):
        judge(model("new", np.array([])), None, GateParams(max_confidence_gap=0.6), "quadratic_weighted_kappa")
