import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.config.project import PROJECT
from medtune.evaluation.thresholds import MIN_PATIENTS, best_threshold, choose_threshold


def draw_set(draw, patients: int, shift: float, images: int = 8):
    """Draw calibrated probabilities shifted by `shift` on the logit scale; half of the patients are positive."""
    patient_of_image = np.repeat(np.arange(patients), images)
    positive = patient_of_image % 2 == 1
    logits = (
        np.where(positive, 1.5, -1.5)
        + draw.normal(0, 1, patients)[patient_of_image]
        + draw.normal(0, 1.5, len(patient_of_image))
    )
    return 1 / (1 + np.exp(-(logits + shift))), positive, patient_of_image


def balanced_accuracy(probabilities, positive, threshold):
    message = probabilities >= threshold
    return (message[positive].mean() + (~message[~positive]).mean()) / 2


def test_best__separated_classes_split_in_the_gap():
    result = best_threshold(np.array([0.6, 0.65, 0.7, 0.8, 0.85, 0.9]), np.array([0, 0, 0, 1, 1, 1], bool))
    assert result == pytest.approx(0.75)


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 3))
def test_best__no_threshold_is_better_by_more_than_the_tolerance(seed, n, decimals):
    draw = np.random.default_rng(seed)
    probabilities, positive = draw.random(n).round(decimals), np.arange(n) % 2 == 0
    reached = balanced_accuracy(probabilities, positive, best_threshold(probabilities, positive))
    best = max(balanced_accuracy(probabilities, positive, t) for t in np.linspace(-0.01, 1.01, 2041))
    assert reached >= best - 0.03 - 1e-9


def test_choose__balanced_probabilities_use_one_half():
    choice = choose_threshold(*draw_set(np.random.default_rng(0), 60, 0.0), "balanced_accuracy")
    assert choice.threshold == 0.5
    assert "not significantly better" in choice.why
    assert (choice.images, choice.patients, choice.failed) == (480, (30, 30), False)


def test_choose__corrects_a_significant_shift():
    choice = choose_threshold(*draw_set(np.random.default_rng(0), 60, 2.5), "balanced_accuracy")
    assert choice.threshold > 0.7
    assert "better than 0.5" in choice.why


def test_choose__too_few_patients_of_a_class_use_one_half():
    probabilities, positive, patient_of_image = draw_set(
        np.random.default_rng(0), 2 * (MIN_PATIENTS - 1), 2.5, images=50
    )
    choice = choose_threshold(probabilities, positive, patient_of_image, "balanced_accuracy")
    assert choice.threshold == 0.5
    assert "9 negative and 9 positive validation patients" in choice.why


def test_choose__is_not_worse_than_one_half_on_new_patients():
    """Simulate 40 datasets, with and without a need for another threshold."""
    draw = np.random.default_rng(1)
    for patients, shift, gain in ((24, 0.0, -0.002), (60, 0.0, -0.002), (60, 2.0, 0.05)):
        new = draw_set(draw, 2000, shift)[:2]
        chosen = [choose_threshold(*draw_set(draw, patients, shift), "balanced_accuracy").threshold for _ in range(40)]
        reached = np.mean([balanced_accuracy(*new, threshold) for threshold in chosen])
        assert reached - balanced_accuracy(*new, 0.5) >= gain, (patients, shift)


def test_choose__one_class_falls_back_with_a_reason():
    for criterion in ("balanced_accuracy", {"specificity": 0.9}):
        choice = choose_threshold(np.array([0.2, 0.3]), np.array([False, False]), np.arange(2), criterion)
        assert (choice.threshold, choice.failed) == (0.5, True)
        assert "one class only" in choice.as_dict()["reason"]


@settings(max_examples=80)
@given(
    st.integers(0, 10_000), st.integers(2, 50), st.sampled_from(["specificity", "sensitivity"]), st.floats(0.05, 0.99)
)
def test_choose__reaches_the_target_with_the_best_other_metric(seed, n, name, rate):
    draw = np.random.default_rng(seed)
    probabilities, positive = draw.choice(np.linspace(0, 1, 9), n), np.arange(n) % 2 == 0
    threshold = choose_threshold(probabilities, positive, np.arange(n), {name: rate}).threshold

    def rates(t):
        message = probabilities >= t
        result = {"specificity": (~message[~positive]).mean(), "sensitivity": message[positive].mean()}
        return result[name], result["specificity" if name == "sensitivity" else "sensitivity"]

    assert rates(threshold)[0] >= rate - 1e-9
    others = [rates(t) for t in (*np.unique(probabilities), 2.0)]
    assert rates(threshold)[1] == pytest.approx(max(other for reached, other in others if reached >= rate - 1e-9))


def test_choose__reports_a_target_with_few_patients():
    choice = choose_threshold(np.linspace(0, 1, 8), np.arange(8) > 3, np.arange(8), {"sensitivity": 0.9})
    assert choice.failed
    assert choice.why.endswith("from only 4 negative and 4 positive patients")


def test_choose__eleven_thousand_images_need_little_memory():
    import tracemalloc

    draw = np.random.default_rng(0)
    probabilities, positive = draw.random(11_000), draw.random(11_000) < 0.2
    tracemalloc.start()
    choose_threshold(probabilities, positive, np.arange(11_000), "balanced_accuracy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_import__needs_neither_torch_nor_scipy():
    code = "import sys, medtune.evaluation.thresholds; sys.exit(bool({'torch', 'scipy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0
