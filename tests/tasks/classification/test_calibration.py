import numpy as np
import pytest

from medtune.tasks.classification import calibration, reliability


def make_logits(temperature, n=4000, classes=3, seed=0):
    """Create logits that are calibrated after division by `temperature`."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2, (n, classes))
    labels = np.array([draw.choice(classes, p=row) for row in calibration.softmax(logits)])
    return logits * temperature, labels, np.arange(n)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_fit__finds_the_temperature(temperature):
    result = calibration.fit_temperature(*make_logits(temperature))
    assert result.temperature == pytest.approx(temperature, rel=0.1)
    assert not result.at_bound
    assert result.nll_after <= result.nll_before + 1e-12
    assert result.brier_after <= result.brier_before + 1e-3
    assert result.images == 4000


def test_fit__separable_validation_stops_at_the_bound():
    labels = np.array([0, 1] * 100_000)
    result = calibration.fit_temperature(np.eye(2)[labels], labels, np.arange(200_000))
    assert result.temperature == pytest.approx(calibration.TEMPERATURE_BOUNDS[0], rel=0.1)


def test_fit__few_patients_stay_near_1():
    logits, labels, patients = make_logits(3.0, n=200)
    few = calibration.fit_temperature(logits, labels, patients % 4).temperature
    many = calibration.fit_temperature(logits, labels, patients).temperature
    assert 1 < few < many


def test_fit__separable_validation_of_few_patients():
    labels = np.array([0, 1] * 30)
    assert calibration.fit_temperature(5 * np.eye(2)[labels], labels, labels).temperature > 0.5


def test_fit__none_does_not_change_probabilities():
    result = calibration.fit_temperature(*make_logits(3.0), kind="none")
    assert result.temperature == 1
    assert result.nll_before == result.nll_after


def test_fit__does_not_change_the_ranking():
    logits, labels, patients = make_logits(2.0, n=50)
    result = calibration.fit_temperature(logits, labels, patients)
    assert (calibration.softmax(logits, result.temperature).argmax(axis=1) == logits.argmax(axis=1)).all()


def test_softmax__large_logits_stay_finite():
    result = calibration.softmax(np.array([[1e4, 0.0], [-1e4, 0.0]], dtype=np.float32))
    assert result == pytest.approx(np.array([[1, 0], [0, 1]]))
    assert np.isfinite(calibration.nll(np.array([[50.0, 0.0]]), np.array([1])))


def test_reliability__table_contains_the_gap_between_confidence_and_accuracy():
    logits, labels, _ = make_logits(2.0, n=500)
    probabilities = calibration.softmax(logits)
    rows = reliability.reliability(labels, probabilities, 10)
    assert sum(row["images"] for row in rows) == 500
    gap = sum(row["images"] * (row["confidence"] - row["accuracy"]) for row in rows) / 500
    assert gap == pytest.approx(probabilities.max(axis=1).mean() - (probabilities.argmax(axis=1) == labels).mean())
    assert all(row["lower"] < row["confidence"] <= row["upper"] for row in rows)
