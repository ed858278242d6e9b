from types import SimpleNamespace

import numpy as np

from medtune.export.parity_windows import limit_windows, sample_windows

PATCH = (4, 4, 4)


def store(masks):
    """Return volumes whose image is the mask plus the row."""
    entries = [
        SimpleNamespace(shape=mask.shape, voxels=[int((mask == label).sum()) for label in (1, 2)]) for mask in masks
    ]
    return SimpleNamespace(
        entries=entries,
        channels=1,
        mask=lambda row: masks[row],
        image=lambda row: (masks[row] + 10.0 * row).astype(np.float16)[None],
    )


def test_sample_windows__balances_the_rarest_label():
    masks = [np.zeros((16, 8, 8), np.uint8) for _ in range(2)]
    masks[0][:8], masks[1][15, 7, 7] = 1, 2
    windows, selected = sample_windows(store(masks), [0, 1], PATCH, 0.5, 6, seed=0)
    assert windows.shape == (6, 1, *PATCH)
    assert windows.dtype == np.float32
    rarest = selected.reshape(6, -1).max(axis=1)
    assert (rarest == 2).sum() == 1  # a single window has the label
    assert (rarest == 1).sum() >= 2
    assert (rarest == 0).sum() >= 2
    for window, mask in zip(windows, selected, strict=True):
        assert np.array_equal(window[0] % 10, mask)


def test_sample_windows__small_volumes_are_padded():
    windows, masks = sample_windows(store([np.ones((3, 4, 2), np.uint8)]), [0], PATCH, 0.5, 5, seed=0)
    assert len(windows) == 1
    assert masks.sum() == 3 * 4 * 2


def test_limit_windows__keeps_at_least_one_volume():
    volumes = store([np.zeros((8, 8, 8), np.uint8)] * 3)  # 27 windows each
    assert limit_windows(volumes, [0, 1, 2], PATCH, 0.5) == [0, 1, 2]
    assert limit_windows(volumes, [0, 1, 2], PATCH, 0.5, 60) == [0, 1]
    assert limit_windows(volumes, [2, 1], PATCH, 0.5, 1) == [2]
