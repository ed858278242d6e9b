"""Multilabel metrics compared with scikit-learn, per finding and averaged."""

import numpy as np
import pytest
from sklearn import metrics as sklearn

from medtune.evaluation.intervals import intervals
from medtune.evaluation.metric import compute, values
from medtune.tasks.multilabel.metrics import FINDING_METRICS, METRICS, finding_metrics, score
from medtune.tasks.multilabel.statistics import accumulate, effective_patients


@pytest.fixture
def images():
    draw = np.random.default_rng(5)
    labels = draw.random((200, 4)) < [0.5, 0.3, 0.1, 0.0]
    probabilities = 1 / (1 + np.exp(-draw.normal(size=(200, 4)) - labels))
    return labels, probabilities, probabilities >= 0.6, np.arange(200) // 4


def test_metrics__per_finding_equal_scikit_learn(images):
    labels, probabilities, decided, _ = images
    weighted = accumulate(*images).weighted(np.ones((1, 50)))
    for k in range(3):
        expected = {
            "auroc": sklearn.roc_auc_score(labels[:, k], probabilities[:, k]),
            "average_precision": sklearn.average_precision_score(labels[:, k], probabilities[:, k]),
            "sensitivity": sklearn.recall_score(labels[:, k], decided[:, k]),
            "specificity": sklearn.recall_score(~labels[:, k], ~decided[:, k]),
            "f1": sklearn.f1_score(labels[:, k], decided[:, k]),
        }
        result = {name: float(getattr(weighted, name)[0, k]) for name in FINDING_METRICS}
        assert result == pytest.approx(expected)


def test_metrics__averages_exclude_absent_findings(images):
    labels, probabilities, decided, patients = images
    result = values(METRICS, accumulate(*images))
    expected = values(METRICS, accumulate(labels[:, :3], probabilities[:, :3], decided[:, :3], patients))
    assert result == pytest.approx(expected)
    assert result["auroc"] == pytest.approx(sklearn.roc_auc_score(labels[:, :3], probabilities[:, :3], average="macro"))


def test_metrics__undefined_without_scored_findings():
    labels = np.zeros((6, 2), bool)
    stats = accumulate(labels, np.full((6, 2), 0.3), labels, np.arange(6))
    assert set(values(METRICS, stats).values()) == {None}
    assert all(np.isnan(value) for value in score(labels, np.full((6, 2), 0.3)).values())


def test_metrics__undefined_if_resample_removes_finding():
    labels = np.array([[1, 1], [0, 0], [1, 0]], bool)
    stats = accumulate(labels, np.where(labels, 0.8, 0.2), labels, np.arange(3))
    weights = np.array([[1.0, 1, 1], [0, 2, 1]])
    result = compute(METRICS, stats, weights)
    assert np.isfinite([result["auroc"][0], result["macro_f1"][0]]).all()
    assert np.isnan([result["auroc"][1], result["macro_f1"][1], result["sensitivity"][1]]).all()


def test_calibration__single_probability():
    labels = np.array([[1], [0], [0], [0]], bool)
    result = values(METRICS, accumulate(labels, np.full((4, 1), 0.75), labels, np.arange(4)))
    assert result["confidence_gap"] == pytest.approx(0.5)
    assert result["brier"] == pytest.approx((0.25**2 + 3 * 0.75**2) / 4)
    assert result["calibration_intercept"] == pytest.approx(-2 * np.log(3))
    assert result["calibration_slope"] is None


def test_finding_metrics__intervals_contain_value(images):
    flat = [metric for k in range(4) for metric in finding_metrics(k).values()]
    result = intervals(flat, accumulate(*images))
    assert len(result) == 20
    for k in range(3):
        interval = result[finding_metrics(k)["auroc"].name]
        assert interval.lo < interval.value < interval.hi
    assert result[finding_metrics(3)["auroc"].name].value is None


def test_accumulate__invalid_input():
    with pytest.raises(ValueError, match="no images"):
        accumulate(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
    with pytest.raises(ValueError, match="1 of 2 images have a probability of NaN"):
        accumulate(np.zeros((2, 1)), np.array([[np.nan], [0.5]]), np.zeros((2, 1)), np.arange(2))


def test_patients_per_class__findings_that_are_not_scored():
    labels = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 0]], bool)
    stats = accumulate(labels, labels * 0.8, labels, np.array(["a", "b", "a"]))
    assert stats.patients_per_class().tolist() == [1, 0, 0]


def test_effective_patients__unequal_numbers_of_images():
    labels = np.zeros((40, 2), bool)
    labels[:10, 0] = True  # all images of the first patient
    labels[::10, 1] = True  # one image per patient
    stats = accumulate(labels, np.full((40, 2), 0.5), labels, np.arange(40) // 10)
    assert effective_patients(0)(stats) == pytest.approx(1)
    assert effective_patients(1)(stats) == pytest.approx(4)
    interval = intervals(list(finding_metrics(0).values()), stats)["auroc_0"]
    assert interval.lo is None
