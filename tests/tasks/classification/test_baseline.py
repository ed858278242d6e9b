"""Baseline of a classifier: scikit-learn's logistic regression, also without training images of a class."""

import numpy as np

from medtune.tasks.classification import baseline


def test_fit_and_predict__class_without_training_images_has_probability_0():
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 2], 30)
    x = draw.normal(size=(60, 3)) + 4 * labels[:, None]
    result = baseline.fit_and_predict(x, labels, x, 3)
    assert result.shape == (60, 3)
    assert np.allclose(result.sum(1), 1)
    assert not result[:, 1].any()
    assert (result.argmax(1) == labels).mean() > 0.95


def test_fit_and_predict__rare_classes_count_as_much_as_common_ones():
    x = np.concatenate([np.zeros(90), np.ones(10)])[:, None]
    labels = np.repeat([0, 1], [90, 10])
    labels[:9] = 1  # both classes at 0: one tenth of the images, but half of the positives
    result = baseline.fit_and_predict(x, labels, np.array([[0.0]]), 2)
    assert result[0, 1] > 0.25
