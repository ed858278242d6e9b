"""Metrics of a classifier. tests/robustness/test_metrics.py compares them with scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from sklearn import metrics as reference

from medtune.tasks.classification import metrics, ranking, statistics
from medtune.tasks.classification.class_metrics import per_class
from tests.tasks.classification.cases import cases


@given(case=cases())
def test_score__equals_compute_all(case):
    full = metrics.compute_all(case.labels, case.probabilities, case.probabilities.argmax(axis=1), case.patients)
    for name, value in metrics.score(case.labels, case.probabilities).items():
        assert full[name] == pytest.approx(value, abs=1e-12) if full[name] is not None else np.isnan(value)


def test_patient_recognition_rate__equal_weight_per_patient():
    labels = np.array([0, 0, 0, 1])
    predictions = np.array([0, 0, 0, 0])
    result = metrics.compute_all(labels, np.eye(2)[predictions], predictions, np.array(["a", "a", "a", "b"]))
    assert result["patient_recognition_rate"] == 0.5
    assert result["accuracy"] == 0.75


@given(case=cases())
def test_per_class__agrees_with_scikit_learn(case):
    labels, predictions, classes = case.labels, case.predictions, case.probabilities.shape[1]
    expected = reference.precision_recall_fscore_support(labels, predictions, labels=range(classes), zero_division=0)
    counts = statistics.accumulate(labels, case.probabilities, predictions, case.patients)
    rows = per_class(counts, [str(k) for k in range(classes)], 0.95)
    assert len(rows) == classes
    for k, row in enumerate(rows):
        assert [row["precision"] or 0, row["recall"] or 0, row["f1"] or 0, row["support"]] == pytest.approx(
            [column[k] for column in expected]
        )


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.empty((0, 2)), [], "no images"),
        (np.array([[np.nan, 0.5], [0.5, 0.5]]), [0, 1], "1 of 2 images"),
        (np.array([[0.5, 0.5]]), [2], "outside 0 to 1"),
    ],
)
def test_score__invalid_input(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        metrics.score(np.array(labels, dtype=np.int64), probabilities)


@pytest.mark.parametrize("seed", range(6))
def test_quadratic_weighted_kappa__agrees_with_scikit_learn(seed):
    from sklearn.metrics import cohen_kappa_score

    draw = np.random.default_rng(seed)
    classes = 2 + seed
    labels = draw.integers(0, classes, 200)
    predictions = np.clip(labels + draw.integers(-1, 3, 200), 0, classes - 1)
    patients = draw.integers(0, 30, 200)
    result = metrics.compute_all(labels, np.eye(classes)[predictions], predictions, patients, ordinal=True)
    expected = cohen_kappa_score(labels, predictions, weights="quadratic", labels=range(classes))
    assert result["quadratic_weighted_kappa"] == pytest.approx(expected, abs=1e-12)


def test_quadratic_weighted_kappa__for_ordinal_labels_only():
    labels = np.array([0, 1, 2, 2])
    result = metrics.compute_all(labels, np.eye(3)[labels], labels, labels)
    assert "quadratic_weighted_kappa" not in result
    single_class = np.zeros(4, np.int64)
    constant = metrics.compute_all(single_class, np.eye(3)[single_class], single_class, labels, ordinal=True)
    assert constant["quadratic_weighted_kappa"] is None


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("specificity", [0.90, 0.95])
def test_sensitivity_at_specificity__highest_on_the_roc_curve(seed, specificity):
    draw = np.random.default_rng(seed)
    positive = draw.random(60) < 0.4
    scores = np.round(draw.normal(size=60) + positive, 1)  # with ties
    result = ranking.sensitivity_at(ranking.rank(positive, scores), np.ones((1, 60)), specificity)
    false, true, _ = reference.roc_curve(positive, scores, drop_intermediate=False)
    assert result[0] == pytest.approx(true[1 - false >= specificity - 1e-12].max(), abs=1e-12)


def test_sensitivity_at_specificity__threshold_per_weighting():
    positive = np.array([True, False, True, False])
    scores = np.array([0.9, 0.8, 0.7, 0.1])
    weights = np.array([[1.0, 1, 1, 1], [1, 0, 1, 1], [0, 1, 1, 1], [1, 0, 1, 0]])
    result = ranking.sensitivity_at(ranking.rank(positive, scores), weights, 0.9)
    np.testing.assert_array_equal(result, [0.5, 1.0, 0.0, np.nan])


@pytest.mark.parametrize("seed", range(4))
def test_precision_recall_curve__area_is_average_precision(seed):
    draw = np.random.default_rng(seed)
    positive = draw.random(50) < 0.3
    scores = np.round(draw.normal(size=50) + positive, 1)
    recall, precision = ranking.precision_recall_curve(positive, scores)
    area = float(np.sum(np.diff(recall) * precision[1:]))
    assert area == pytest.approx(reference.average_precision_score(positive, scores), abs=1e-12)
