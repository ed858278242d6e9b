"""Learning rate, order and class weights."""

import itertools

import numpy as np
import pytest
import torch

from medtune.training.schedule import class_weights, epoch_order, lr_factor, stream_seed


def test_lr_factor__warms_up_from_one_percent_then_falls_to_zero():
    factors = [lr_factor(step, 100, 10) for step in range(101)]
    assert factors[0] == pytest.approx(0.01)
    assert factors[10] == 1
    assert factors[100] == pytest.approx(0, abs=1e-12)
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))


def test_stream_seed__is_stable_and_apart():
    assert stream_seed(1, "order", 3) == stream_seed(1, "order", 3)
    assert len({stream_seed(1, name, epoch) for name in ("order", "torch") for epoch in range(50)}) == 100


def test_epoch_order__is_a_permutation():
    rows = np.array([4, 8, 15, 16, 23, 42])
    order = epoch_order(rows, torch.Generator().manual_seed(1))
    assert sorted(order) == sorted(rows)


def test_class_weights__auto_balances_and_means_one():
    labels = np.array([0] * 15 + [1] * 85)
    weights = class_weights("auto", ("benign", "malignant"), labels)
    assert weights[0] * 15 == pytest.approx(float(weights[1] * 85))
    assert float(weights[labels].mean()) == pytest.approx(1)
    assert class_weights("none", ("benign", "malignant"), labels) is None


def test_class_weights__absent_class_weighs_nothing():
    weights = class_weights("auto", ("a", "b", "c"), np.array([0, 0, 1]))
    assert weights[2] == 0
