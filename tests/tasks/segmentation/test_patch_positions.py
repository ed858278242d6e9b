"""Positions of patches: inside of the volume, on labels, and over all voxels."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.serving.volumes.windows import pad_to_patch
from medtune.tasks.segmentation import patch_positions
from medtune.tasks.segmentation.patch_positions import PatchPositions, read_box

SHAPES = st.tuples(*[st.integers(1, 9)] * 3)
PATCHES = st.tuples(*[st.integers(1, 7)] * 3)


class Volumes:
    """One volume in memory."""

    def __init__(self, mask):
        self.entries, self.read = [SimpleNamespace(shape=list(mask.shape))], 0
        self._mask = mask

    def mask(self, row):
        self.read += 1
        return self._mask


def positions(mask, patch, n_labels=2):
    return PatchPositions(Volumes(mask), patch, n_labels)


@settings(max_examples=50)
@given(SHAPES, PATCHES, st.integers(0, 2**32 - 1))
def test_box__equals_the_padded_volume(shape, patch, seed):
    draw = np.random.default_rng(seed)
    volume = draw.random((2, *shape)).astype(np.float16)
    padded, offset = pad_to_patch(volume, patch)
    start = positions(np.zeros(shape, np.uint8), patch).anywhere(0, draw.random(3).tolist())
    box = read_box(volume, start, patch)
    inside = tuple(slice(a + b, a + b + side) for a, b, side in zip(start, offset, patch, strict=True))
    np.testing.assert_array_equal(box, padded[(slice(None), *inside)])
    assert box.flags.writeable


@given(SHAPES, PATCHES)
def test_anywhere__every_patch_of_the_volume_is_reached(shape, patch):
    where = positions(np.zeros(shape, np.uint8), patch)
    for axis, (length, side) in enumerate(zip(shape, patch, strict=True)):
        count = max(1, length - side + 1)
        numbers = [(position + share) / count for position in range(count) for share in (0.0, 0.99)]
        starts = [where.anywhere(0, [number] * 3)[axis] for number in [*numbers, 1.0]]
        expected = np.repeat(np.arange(count) + min(0, -((side - length) // 2)), 2)
        assert starts == [*expected, expected[-1]]
        covered = {start + offset for start in starts for offset in range(side)}
        assert covered >= set(range(length))


@settings(max_examples=50)
@given(SHAPES, PATCHES, st.integers(0, 2**32 - 1))
def test_on_label__every_patch_contains_its_label_and_all_labels_have_turns(shape, patch, seed):
    draw = np.random.default_rng(seed)
    mask = draw.choice(3, shape, p=[0.8, 0.1, 0.1]).astype(np.uint8)
    where, present = positions(mask, patch), sorted({1, 2} & set(np.unique(mask).tolist()))
    for turn in range(6):
        start = where.on_label(0, turn, float(draw.random()))
        if not present:
            assert start is None
            continue
        assert present[turn % len(present)] in read_box(mask, start, patch)


def test_on_label__the_voxel_is_in_the_center():
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[9, 12, 10] = 1
    assert positions(mask, (5, 6, 7)).on_label(0, 0, 0.99) == (7, 9, 7)
    mask[:] = 0
    mask[0, 19, 10] = 1
    assert positions(mask, (5, 6, 7)).on_label(0, 0, 0.0) == (0, 14, 7)


def test_on_label__a_large_label_is_read_once_and_sampled(monkeypatch):
    monkeypatch.setattr(patch_positions, "MAX_CENTERS", 40)
    where = positions(np.ones((9, 9, 9), np.uint8), (1, 1, 1))
    starts = {where.on_label(0, 0, number) for number in np.linspace(0, 1, 1000)}
    assert len(starts) == 40
    assert where.volumes.read == 1
