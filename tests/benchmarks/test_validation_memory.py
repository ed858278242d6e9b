"""Peak memory of a validation: both variants give the same sums."""

import pytest

from benchmarks import validation_memory


@pytest.mark.slow
@pytest.mark.nightly
def test_measure__both_variants_have_the_same_dice():
    (row,) = validation_memory.measure(shape=(80, 64, 64))
    assert row.note.startswith("Dice equal")
    assert row.value > 0
