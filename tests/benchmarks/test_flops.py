"""Number of operations of stage 1, computed without running it."""

import numpy as np
import pytest

from benchmarks import flops
from benchmarks.synthetic_images import benchmark_params

SETS = ["data.image_size=32", "model.backbone_args={img_size: 32}", "model.weights=none"]


def params_of(kind, **frozen):
    head = {"kind": kind} | ({"centers": 5} if kind == "cdtm" else {})
    return benchmark_params(None, SETS, {"model": {"head": head}, "frozen": frozen})


def chain(*folds):
    train, val = (
        {"train": np.arange(0, 6), "val": np.arange(6, 8)},
        {"train": np.arange(2, 8), "val": np.arange(0, 2)},
    )
    return [(train, val)[fold] for fold in folds]


def test_compare__passes_of_one_fold_and_of_two_folds_with_shared_features():
    params = params_of("linear", repeats_per_epoch=3)
    repeated, stored = flops.compare(params, chain(0), epochs=10, views=4)
    assert (repeated.passes, stored.passes) == (10 * (3 * 6 + 2), 4 * 6 + 2)
    two_folds, shared = flops.compare(params, chain(0, 1), epochs=10, views=4)
    assert (two_folds.passes, shared.passes) == (2 * repeated.passes, 4 * 8)


def test_compare__operations_of_the_head_limit_the_gain():
    (linear, linear_stored), (cdtm, cdtm_stored) = (
        flops.compare(params_of(kind), chain(0), epochs=100, views=1) for kind in ("linear", "cdtm")
    )
    assert linear.operations / linear_stored.operations == pytest.approx(800 / 8, rel=0.03)
    assert cdtm.passes == linear.passes
    assert cdtm.operations - linear.operations == pytest.approx(cdtm_stored.operations - linear_stored.operations)
    assert cdtm.operations / cdtm_stored.operations < 50


def test_per_image__equals_a_manual_count_for_cdtm():
    backbone, scored, trained = flops._per_image(params_of("cdtm"))
    tokens, channels, centers = 4, 64, 5
    products = [
        channels * centers,  # cosines
        centers * tokens**2,  # mixture
        tokens**2 * channels,  # mixed tokens
        tokens * channels**2,  # projection
        2 * tokens * channels * 4 * channels,  # MLP
        channels * 2,  # classifier
    ]
    assert scored == 2 * sum(products)
    assert 2.9 < trained / scored <= 3
    assert backbone > 0
