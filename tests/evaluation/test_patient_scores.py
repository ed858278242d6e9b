import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.evaluation.patient_scores import combine_images


def test_combine_images__three_rules():
    positive, patients = np.array([0.2, 0.5, 1.0, 0.1]), np.array([0, 0, 1, 2])
    both = np.stack([1 - positive, positive], axis=1)
    for rule, expected in (("mean", [0.35, 1, 0.1]), ("max", [0.5, 1, 0.1]), ("noisy_or", [0.6, 1, 0.1])):
        result = combine_images(both, patients, 3, rule)
        np.testing.assert_allclose(result[:, 1], expected)
        np.testing.assert_allclose(result.sum(axis=1), 1)


def test_combine_images__several_classes_support_only_the_mean():
    probabilities, patients = np.random.default_rng(0).dirichlet(np.ones(3), 6), np.array([0, 1, 1, 1, 0, 2])
    np.testing.assert_allclose(combine_images(probabilities, patients, 3, "mean")[1], probabilities[1:4].mean(axis=0))
    with pytest.raises(ValueError, match="two classes, not 3"):
        combine_images(probabilities, patients, 3, "max")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_combine_images__mean_below_max_below_noisy_or(values):
    positive = np.array(values)
    both, patients = np.stack([1 - positive, positive], axis=1), np.zeros(len(values), np.int64)
    mean, top, either = (combine_images(both, patients, 1, rule)[0, 1] for rule in ("mean", "max", "noisy_or"))
    assert mean <= top + 1e-12
    assert top <= either + 1e-12
