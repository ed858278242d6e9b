import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medtune.serving.slides.aggregate import (
    attention_weights,
    calibrate,
    mean_probabilities,
    slide_logits,
    slide_probabilities,
    tile_probabilities,
)

LOGITS = arrays.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 4)), elements=st.floats(-20, 20))


@given(LOGITS, st.floats(0.1, 10))
def test_calibrate__scales_the_logarithm_of_the_mean(logits, temperature):
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    mean = mean_probabilities(probabilities)
    scaled = np.log(mean) / temperature
    expected = np.exp(scaled - scaled.max()) / np.exp(scaled - scaled.max()).sum()
    np.testing.assert_allclose(calibrate(mean, temperature), expected, atol=1e-12)


def test_calibrate__temperature_one_and_probability_zero():
    np.testing.assert_allclose(calibrate(np.array([[0.0, 1.0], [0.25, 0.75]]), 1.0), [[0, 1], [0.25, 0.75]])
    np.testing.assert_allclose(calibrate(np.array([0.0, 1.0]), 0.1), [0, 1])


@given(LOGITS, st.randoms(use_true_random=False))
def test_attention__does_not_depend_on_the_order_of_tiles(outputs, random):
    order = list(range(len(outputs)))
    random.shuffle(order)
    weights = attention_weights(outputs)
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(attention_weights(outputs[order]), weights[order], atol=1e-12)
    np.testing.assert_allclose(slide_logits(outputs[order]), slide_logits(outputs), atol=1e-9)
    assert slide_probabilities(outputs, "attention").sum() == pytest.approx(1)


def test_attention__slide_of_one_tile_has_the_probabilities_of_the_tile():
    outputs = np.array([[1.0, 3.0, -7.0]])
    np.testing.assert_allclose(slide_probabilities(outputs, "attention"), tile_probabilities(outputs, "attention")[0])
    np.testing.assert_allclose(tile_probabilities(outputs, "attention")[0, 1], 1 / (1 + np.exp(-2)))


def test_attention__large_scores_give_finite_probabilities():
    outputs = np.array([[800.0, -800.0, 900.0], [0.0, 1.0, -900.0]], np.float32)
    np.testing.assert_allclose(slide_probabilities(outputs, "attention"), [1, 0])
