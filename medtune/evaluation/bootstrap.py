"""Resamples of the patients, over which the choice of a threshold is averaged."""

from collections.abc import Iterator

import numpy as np

from medtune.evaluation.metric import Floats

CHUNK_CELLS = 2_000_000  # weights held at once: 16 MB as float64


def resamples(groups: int, replicates: int, seed: int, width: int = 0) -> Iterator[Floats]:
    """How often each group is drawn, (chunk, groups) at a time, rows summing to `groups`.

    Args:
        groups: how many there are.
        replicates: rows in all.
        seed: of the draw.
        width: values the caller will hold for each row, to bound its memory.
    """
    draw = np.random.default_rng(seed)
    chunk = max(1, CHUNK_CELLS // max(groups, width))
    for start in range(0, replicates, chunk):
        rows = min(chunk, replicates - start)
        picked = draw.integers(0, groups, (rows, groups)) + groups * np.arange(rows)[:, None]
        yield np.bincount(picked.ravel(), minlength=rows * groups).reshape(rows, groups).astype(np.float64)
