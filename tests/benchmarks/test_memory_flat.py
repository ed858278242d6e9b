"""Peak memory of two runs of stage 1, watched from outside."""

import os
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

import pytest

from benchmarks import memory_flat


@pytest.mark.slow
def test_measure__a_small_and_a_larger_set():
    network = ["data.image_size=16", "model.backbone_args={img_size: 16, depth: 2}", "model.weights=none"]
    (row,) = memory_flat.measure([*network, "frozen.feature_views=1"], images=40, times=2)
    assert row.what == "peak memory of stage 1, 80 images"
    assert row.ratio == pytest.approx(row.value / row.reference_value)
    assert row.reference_value > 100  # torch alone takes more
    assert row.target == "<= 1.1x"


def test_peak__sees_what_a_process_holds():
    before, after = memory_flat.Peak(), memory_flat.Peak()
    before.update(os.getpid())
    with mmap(-1, 80 << 20, MAP_PRIVATE | MAP_ANONYMOUS) as held:  # an array may lie in what was freed before
        for _ in range(80):  # in pieces: the heap may keep what a large one took
            held.write(b"1" * (1 << 20))
        after.update(os.getpid())
    assert after.own - before.own == pytest.approx(80, abs=10)
    assert after.resident >= after.own
