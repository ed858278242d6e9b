"""Peak memory of two runs of stage 1, measured from another process."""

import os
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

import pytest

from benchmarks import memory_flat


@pytest.mark.slow
@pytest.mark.nightly
def test_measure__compares_a_small_and_a_larger_dataset():
    network = ["data.image_size=16", "model.backbone_args={img_size: 16, depth: 2}", "model.weights=none"]
    (row,) = memory_flat.measure([*network, "frozen.feature_views=1"], images=40, times=2)
    assert row.measurement == "peak memory of stage 1, 80 images"
    assert row.ratio == pytest.approx(row.value / row.reference_value)
    assert row.reference_value > 100  # torch alone needs more
    assert row.target == "<= 1.1x"


def test_peak__contains_the_memory_of_a_process():
    before, after = memory_flat.Peak(), memory_flat.Peak()
    before.update(os.getpid())
    with mmap(-1, 80 << 20, MAP_PRIVATE | MAP_ANONYMOUS) as block:  # an array might reuse freed memory
        for _ in range(80):  # in small writes, because the heap may retain large buffers
            block.write(b"1" * (1 << 20))
        after.update(os.getpid())
    assert after.anonymous - before.anonymous == pytest.approx(80, abs=10)
    assert after.resident >= after.anonymous
