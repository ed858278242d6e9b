"""Learning-rate schedule and order of images."""

import itertools

import numpy as np
import pytest
import torch

from medtune.training.schedule import epoch_order, lr_factor, stream_seed


def test_lr_factor__warms_up_from_one_percent_then_falls_to_zero():
    factors = [lr_factor(step, 100, 10) for step in range(101)]
    assert factors[0] == pytest.approx(0.01)
    assert factors[10] == 1
    assert factors[100] == pytest.approx(0, abs=1e-12)
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))


def test_stream_seed__is_stable_and_distinct():
    assert stream_seed(1, "order", 3) == stream_seed(1, "order", 3)
    assert len({stream_seed(1, name, epoch) for name in ("order", "torch") for epoch in range(50)}) == 100


def test_epoch_order__is_a_permutation():
    rows = np.array([4, 8, 15, 16, 23, 42])
    order = epoch_order(rows, torch.Generator().manual_seed(1))
    assert sorted(order) == sorted(rows)
