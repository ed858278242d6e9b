"""Peak memory excludes earlier allocations."""

import numpy as np
import pytest

from medtune.training.memory import PeakMemory


def test_megabytes__excludes_earlier_allocations():
    memory = PeakMemory("cpu")
    if not memory.available:
        assert memory.megabytes() is None
        return
    assert memory.megabytes() < 50
    held = np.ones(25_000_000)  # 200 MB, touched
    assert memory.megabytes() == pytest.approx(held.nbytes / 2**20, abs=50)
    del held
    assert memory.megabytes() > 150  # the peak stays
    assert PeakMemory("cpu").megabytes() < 50
