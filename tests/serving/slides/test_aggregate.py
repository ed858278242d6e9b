import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medtune.serving.slides.aggregate import calibrate, mean_probabilities

LOGITS = arrays.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 4)), elements=st.floats(-20, 20))


@given(LOGITS, st.floats(0.1, 10))
def test_calibrate__is_a_temperature_on_the_log_of_the_mean(logits, temperature):
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    mean = mean_probabilities(probabilities)
    scaled = np.log(mean) / temperature
    expected = np.exp(scaled - scaled.max()) / np.exp(scaled - scaled.max()).sum()
    np.testing.assert_allclose(calibrate(mean, temperature), expected, atol=1e-12)


def test_calibrate__one_changes_nothing_and_zero_stays_zero():
    np.testing.assert_allclose(calibrate(np.array([[0.0, 1.0], [0.25, 0.75]]), 1.0), [[0, 1], [0.25, 0.75]])
    np.testing.assert_allclose(calibrate(np.array([0.0, 1.0]), 0.1), [0, 1])
