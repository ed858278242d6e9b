"""Calibration and thresholds per finding, fitted on validation patients."""

import numpy as np
import pytest

from medtune.tasks.multilabel import calibration, decision

NAMES = ("mass", "edema", "hernia")


@pytest.fixture
def validation():
    draw = np.random.default_rng(2)
    truth = draw.normal(size=(2000, 3)) * 2 - [0, 1, 3]
    labels = draw.random((2000, 3)) < calibration.sigmoid(truth)
    return truth, labels, np.arange(2000) // 2


def test_calibration__inverts_scale_and_offset(validation):
    truth, labels, patients = validation
    fitted = calibration.fit(truth * [2, 0.5, 1] + [0, 1, 2.5], labels, patients, NAMES)
    assert fitted.scale == pytest.approx([0.5, 2, 1], rel=0.15)
    assert fitted.scale * [0, 1, 2.5] + fitted.offset == pytest.approx([0, 0, 0], abs=0.3)
    assert fitted.nll_after < fitted.nll_before
    assert fitted.reasons == {}
    result = fitted.probabilities(truth * [2, 0.5, 1] + [0, 1, 2.5])
    assert result.mean(0) == pytest.approx(labels.mean(0), abs=0.01)


def test_calibration__does_not_change_the_order_of_images(validation):
    truth, labels, patients = validation
    fitted = calibration.fit(truth, labels, patients, NAMES)
    assert (fitted.scale > 0).all()
    assert np.array_equal(np.argsort(fitted.probabilities(truth), axis=0), np.argsort(truth, axis=0))


def test_calibration__few_patients_stay_near_identity(validation):
    truth, labels, _ = validation
    fitted = calibration.fit(truth[:40] + 2, labels[:40], np.arange(40) // 20, NAMES)
    assert np.abs(np.log(fitted.scale)).max() < 1
    assert np.abs(fitted.offset).max() < 5


def test_calibration__finding_shown_by_all_or_no_images(validation):
    truth, labels, patients = validation
    labels = labels.copy()
    labels[:, 1], labels[:, 2] = True, False
    fitted = calibration.fit(truth, labels, patients, NAMES)
    assert (fitted.scale[1:].tolist(), fitted.offset[1:].tolist()) == ([1, 1], [0, 0])
    assert fitted.reasons == {
        "edema": "every validation image shows it, so it is not calibrated",
        "hernia": "no validation image shows it, so it is not calibrated",
    }
    assert calibration.fit(truth, labels, patients, NAMES, "none").reasons == {}


def test_sigmoid__large_logits_are_finite():
    assert calibration.sigmoid(np.array([-1000.0, 0, 1000])).tolist() == [0, 0.5, 1]


def test_decision__separates_every_finding(validation):
    _, labels, patients = validation
    probabilities = np.where(labels, [0.9, 0.35, 0.1], [0.4, 0.25, 0.01]).astype(float)
    rule = decision.fit_decision(probabilities, labels, patients, NAMES)
    assert rule["reasons"] == {}
    assert rule["thresholds"]["mass"] == 0.5  # all thresholds are equally good
    assert 0.25 < rule["thresholds"]["edema"] <= 0.35
    assert 0.01 < rule["thresholds"]["hernia"] <= 0.1
    assert rule["choices"]["edema"]["why"].startswith("tuned")


@pytest.mark.parametrize(("shown", "counts"), [(9, "51 negative and 9 positive"), (58, "2 negative and 58 positive")])
def test_decision__too_few_patients(shown, counts):
    labels = np.zeros((60, 1), bool)
    labels[:shown] = True
    rule = decision.fit_decision(np.linspace(1, 0, 60)[:, None], labels, np.arange(60), ("mass",))
    assert rule["thresholds"] == {"mass": 0.5}
    assert rule["choices"]["mass"]["why"] == f"0.5: {counts} validation patients, but 10 of each are needed"
    assert rule["reasons"] == {}


def test_decision__sensitivity_criterion_per_finding(validation):
    truth, labels, patients = validation
    probabilities = calibration.sigmoid(truth)
    rule = decision.fit_decision(probabilities, labels, patients, NAMES, {"sensitivity": 0.9})
    for k, name in enumerate(NAMES):
        decided = probabilities[:, k] >= rule["thresholds"][name]
        assert 0.9 <= decided[labels[:, k]].mean() < 0.92


def test_decision__argmax_is_threshold_half(validation):
    _, labels, patients = validation
    rule = decision.fit_decision(np.where(labels, 0.3, 0.1), labels, patients, NAMES, "argmax")
    assert (set(rule["thresholds"].values()), rule["reasons"], rule["criterion"]) == ({0.5}, {}, "argmax")
