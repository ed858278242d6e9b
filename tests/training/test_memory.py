"""Peak memory: it excludes earlier allocations."""

import numpy as np
import pytest

from medtune.training.memory import PeakMemory


def test_megabytes__excludes_earlier_allocations():
    memory = PeakMemory("cpu")
    if not memory.available:
        assert memory.megabytes() is None
        return
    assert memory.megabytes() < 50
    allocated = np.ones(25_000_000)  # 200 MB, touched
    assert memory.megabytes() == pytest.approx(allocated.nbytes / 2**20, abs=50)
    del allocated
    assert memory.megabytes() > 150  # the peak does not decrease
    assert PeakMemory("cpu").megabytes() < 50
