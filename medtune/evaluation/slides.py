"""Outputs of tiles as outputs of slides: from here on, every number of an evaluation refers to slides."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.data.slide_dataset import SlideDataset, by_slide
from medtune.evaluation.outputs import Outputs, OutputsRequest
from medtune.serving.members import temperatures
from medtune.serving.slides import aggregate as tiles_to_slide

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


def to_slides(
    prepared: "PreparedDataset", requests: Sequence[OutputsRequest], outputs: Sequence[Outputs], kind: str
) -> "tuple[PreparedDataset, list[OutputsRequest], list[Outputs]]":
    """Aggregate logits of tiles to logits of slides; what is no set of tiles comes back as it is.

    Args:
        prepared: the data.
        requests: which logits these are, one per fold.
        outputs: (n, ...) outputs of the network by split, in the order of `requests`.
        kind: how tiles become slides, `model.head.aggregation`.

    Returns:
        The same for slides, as logits (slides, classes).
    """
    if not prepared.slides:
        return prepared, list(requests), list(outputs)
    slides = by_slide(prepared, kind)
    own_requests, own_outputs = [], []
    for request, logits in zip(requests, outputs, strict=True):
        rows, values = {}, {}
        for split, tiles in request.indices.items():
            rows[split], values[split] = aggregate(slides, tiles, logits[split], kind)
        own_requests.append(replace(request, indices=rows))
        own_outputs.append(values)
    return slides, own_requests, own_outputs


def slide_probabilities(
    prepared: "PreparedDataset", tiles: np.ndarray, outputs: np.ndarray, document: Mapping[str, Any]
) -> tuple[SlideDataset, np.ndarray, np.ndarray]:
    """Slides of `tiles` as a bundle predicts them: `member_probabilities`, averaged over the networks."""
    slides, rows, found = member_probabilities(prepared, tiles, outputs, document)
    return slides, rows, found.mean(axis=1)


def member_probabilities(
    prepared: "PreparedDataset", tiles: np.ndarray, outputs: np.ndarray, document: Mapping[str, Any]
) -> tuple[SlideDataset, np.ndarray, np.ndarray]:
    """Slides of `tiles` as each network of a bundle predicts them.

    Args:
        prepared: a set of tiles.
        tiles: (n,) rows of it.
        outputs: (n, M, ...) of each network for these tiles.
        document: bundle.json.

    Returns:
        The set of slides, (s,) rows of it, ascending, and (s, M, classes) calibrated probabilities.
    """
    slides = by_slide(prepared)
    assert slides.slide_index is not None
    member = slides.slide_index[tiles]
    rows = np.unique(member)
    kind, each = document["aggregation"], temperatures(document)
    found = np.stack([tiles_to_slide.member_probabilities(outputs[member == row], kind, each) for row in rows])
    return slides, rows, found


def aggregate(slides: SlideDataset, tiles: np.ndarray, outputs: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the slides of `tiles`, and their logits.

    Args:
        slides: the slides.
        tiles: (n,) rows of the set of tiles.
        outputs: (n, ...) of the network for these tiles: logits, and under attention their score.
        kind: how tiles become slides.

    Returns:
        (s,) rows of slides, ascending, and (s, classes) float64: the logarithm of the tiles' mean probabilities, or
        their evidence weighted by attention.
    """
    assert slides.slide_index is not None
    rows, member = np.unique(slides.slide_index[tiles], return_inverse=True)
    if kind == tiles_to_slide.ATTENTION:
        return rows, np.stack([tiles_to_slide.slide_logits(outputs[member == row]) for row in range(len(rows))])
    scaled = np.asarray(outputs, np.float64)
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    log_probabilities = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    highest = np.full((len(rows), scaled.shape[1]), -np.inf)
    np.maximum.at(highest, member, log_probabilities)
    sums = np.zeros_like(highest)
    np.add.at(sums, member, np.exp(log_probabilities - highest[member]))
    return rows, highest + np.log(sums) - np.log(np.bincount(member))[:, None]
