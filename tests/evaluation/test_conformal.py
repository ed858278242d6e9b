"""Coverage of prediction sets for new patients with correlated images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.evaluation.conformal import calibrate, lowest_probability, min_patients
from medtune.serving.prediction_sets import prediction_sets

CLASSES = ("benign", "malignant")


def draw_images(rng: np.random.Generator, n_patients: int):
    """Draw probabilities (n, 2), labels and patients: patient effects of sd 1.2, 5 to 25 images, 2/3 malignant."""
    label, images = (rng.random(n_patients) < 2 / 3).astype(int), rng.integers(5, 26, n_patients)
    label[:2] = 0, 1
    patients = np.repeat(np.arange(n_patients), images)
    labels = label[patients]
    score = rng.normal(0, 1.2, n_patients)[patients] + rng.normal(0, 1, len(patients)) + 1.2 * (2 * labels - 1)
    positive = 1 / (1 + np.exp(-score))
    return np.stack([1 - positive, positive], axis=1), labels, patients


@pytest.mark.parametrize("n_patients", [12, 20, 40])
def test_calibrate__covers_images_of_new_patients(n_patients):
    rng = np.random.default_rng(n_patients)
    probabilities, labels, patients = draw_images(rng, 4000)
    true_class = probabilities[np.arange(len(labels)), labels]
    result = []
    for _ in range(150):
        drawn, truth, drawn_patients = draw_images(rng, n_patients)
        limit = lowest_probability(drawn[np.arange(len(truth)), truth], drawn_patients, 0.9)
        result.append((np.bincount(patients, true_class >= limit) / np.bincount(patients)).mean())
    assert 0.895 <= np.mean(result) <= 0.9 + 1.2 / n_patients


def test_calibrate__per_class_if_every_class_has_enough_patients():
    rng = np.random.default_rng(0)
    fitted = calibrate(*draw_images(rng, 80), CLASSES, 0.9)
    assert fitted["holds_for"] == "each class"
    probabilities, labels, _ = draw_images(rng, 4000)
    members = prediction_sets(probabilities, fitted, CLASSES)
    for k in (0, 1):
        inside = members[labels == k, k]
        assert 0.85 < inside.mean() < 0.97
    fitted = calibrate(*draw_images(rng, 14), CLASSES, 0.9)
    assert fitted["holds_for"] == "all images together"
    assert len(set(fitted["min_probability"].values())) == 1


def test_calibrate__returns_a_reason_without_sets():
    rng = np.random.default_rng(1)
    assert "at least 9 patients; there are 8" in calibrate(*draw_images(rng, 8), CLASSES, 0.9)["reason"]
    probabilities, labels, patients = draw_images(rng, 30)
    assert (
        "no calibration image has the class benign"
        in calibrate(probabilities, labels * 0 + 1, patients, CLASSES, 0.9)["reason"]
    )
    assert "separates" in calibrate(probabilities, labels, patients, ("a|b", "c"), 0.9)["reason"]


@pytest.mark.parametrize(("coverage", "patients"), [(0.9, 9), (0.8, 4), (0.95, 19), (0.5, 1), (0.99, 99)])
def test_min_patients__follows_the_n_plus_one_rule(coverage, patients):
    assert min_patients(coverage) == patients
    assert lowest_probability(np.ones(patients), np.arange(patients), coverage) == 1
    assert patients == 1 or lowest_probability(np.ones(patients - 1), np.arange(patients - 1), coverage) is None


@given(st.integers(9, 40), st.integers(0, 10**6))
def test_lowest_probability__one_image_per_patient_is_split_conformal(n, seed):
    scores = np.random.default_rng(seed).random(n)
    expected = np.sort(scores)[::-1][int(np.ceil(0.9 * (n + 1) - 1e-9)) - 1]
    assert lowest_probability(scores, np.arange(n), 0.9) == expected


@given(st.integers(9, 20), st.integers(1, 4), st.integers(0, 10**6))
def test_lowest_probability__repeated_images_change_nothing(n, times, seed):
    rng = np.random.default_rng(seed)
    scores, patients = rng.random(n), np.arange(n)
    repeats = rng.integers(1, times + 1, n)
    assert lowest_probability(np.repeat(scores, repeats), np.repeat(patients, repeats), 0.9) == lowest_probability(
        scores, patients, 0.9
    )
