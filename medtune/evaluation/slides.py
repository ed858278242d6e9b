"""Outputs of tiles as outputs of slides: from here on, every number of an evaluation refers to slides."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from medtune.data.slide_dataset import SlideDataset, by_slide
from medtune.evaluation.outputs import Outputs, OutputsRequest
from medtune.serving.slides.aggregate import calibrate, mean_probabilities

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


def to_slides(
    prepared: "PreparedDataset", requests: Sequence[OutputsRequest], outputs: Sequence[Outputs]
) -> "tuple[PreparedDataset, list[OutputsRequest], list[Outputs]]":
    """Aggregate logits of tiles to logits of slides; what is no set of tiles comes back as it is.

    Args:
        prepared: the data.
        requests: which logits these are, one per fold.
        outputs: (n, classes) logits by split, in the order of `requests`.

    Returns:
        The same for slides. The logits of a slide are the logarithm of its tiles' mean probabilities.
    """
    if not prepared.slides:
        return prepared, list(requests), list(outputs)
    slides = by_slide(prepared)
    own_requests, own_outputs = [], []
    for request, logits in zip(requests, outputs, strict=True):
        rows, values = {}, {}
        for split, tiles in request.indices.items():
            rows[split], values[split] = aggregate(slides, tiles, logits[split])
        own_requests.append(replace(request, indices=rows))
        own_outputs.append(values)
    return slides, own_requests, own_outputs


def slide_probabilities(
    prepared: "PreparedDataset", tiles: np.ndarray, probabilities: np.ndarray, temperature: float
) -> tuple[SlideDataset, np.ndarray, np.ndarray]:
    """Slides of `tiles` as a bundle predicts them.

    Args:
        prepared: a set of tiles.
        tiles: (n,) rows of it.
        probabilities: (n, classes) of these tiles.
        temperature: of slides.

    Returns:
        The set of slides, (s,) rows of it, ascending, and (s, classes) calibrated probabilities.
    """
    slides = by_slide(prepared)
    assert slides.slide_index is not None
    member = slides.slide_index[tiles]
    rows = np.unique(member)
    means = np.stack([mean_probabilities(probabilities[member == row]) for row in rows])
    return slides, rows, calibrate(means, temperature)


def aggregate(slides: SlideDataset, tiles: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the slides of `tiles`, and their logits.

    Args:
        slides: the slides.
        tiles: (n,) rows of the set of tiles.
        logits: (n, classes) of these tiles.

    Returns:
        (s,) rows of slides, ascending, and (s, classes) float64: log of the mean of the tiles' probabilities.
    """
    assert slides.slide_index is not None
    rows, member = np.unique(slides.slide_index[tiles], return_inverse=True)
    scaled = np.asarray(logits, np.float64)
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    log_probabilities = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    highest = np.full((len(rows), scaled.shape[1]), -np.inf)
    np.maximum.at(highest, member, log_probabilities)
    sums = np.zeros_like(highest)
    np.add.at(sums, member, np.exp(log_probabilities - highest[member]))
    return rows, highest + np.log(sums) - np.log(np.bincount(member))[:, None]
