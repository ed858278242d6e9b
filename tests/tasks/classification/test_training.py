"""Class weights of a classifier's loss."""

import numpy as np
import pytest

from medtune.tasks.classification.training import class_weights


def test_class_weights__auto_balances_with_mean_one():
    labels = np.array([0] * 15 + [1] * 85)
    weights = class_weights("auto", ("benign", "malignant"), labels)
    assert weights[0] * 15 == pytest.approx(float(weights[1] * 85))
    assert float(weights[labels].mean()) == pytest.approx(1)
    assert class_weights("none", ("benign", "malignant"), labels) is None


def test_class_weights__absent_class_has_weight_0():
    weights = class_weights("auto", ("a", "b", "c"), np.array([0, 0, 1]))
    assert weights[2] == 0
