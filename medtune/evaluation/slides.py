"""Aggregation of the outputs for tiles to outputs for slides. All numbers of an evaluation refer to slides."""

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
    """Aggregate the logits of tiles to logits of slides; data without tiles are returned unchanged.

    Args:
        prepared: prepared data.
        requests: network and image indices of each fold.
        outputs: (n, ...) outputs of the networks by split, in the order of `requests`.
        kind: aggregation method, `model.head.aggregation`.

    Returns:
        Data, requests and logits (slides, classes) of the slides.
    """
    if not prepared.slide_of_tile:
        return prepared, list(requests), list(outputs)
    slides = by_slide(prepared, kind)
    slide_requests, slide_outputs = [], []
    for request, logits in zip(requests, outputs, strict=True):
        rows, values = {}, {}
        for split, tiles in request.indices.items():
            rows[split], values[split] = aggregate(slides, tiles, logits[split], kind)
        slide_requests.append(replace(request, indices=rows))
        slide_outputs.append(values)
    return slides, slide_requests, slide_outputs


def slide_probabilities(
    prepared: "PreparedDataset", tiles: np.ndarray, outputs: np.ndarray, document: Mapping[str, Any]
) -> tuple[SlideDataset, np.ndarray, np.ndarray]:
    """Compute the mean of `member_probabilities` over the networks of a bundle; the arguments are the same."""
    slides, rows, probabilities = member_probabilities(prepared, tiles, outputs, document)
    return slides, rows, probabilities.mean(axis=1)


def member_probabilities(
    prepared: "PreparedDataset", tiles: np.ndarray, outputs: np.ndarray, document: Mapping[str, Any]
) -> tuple[SlideDataset, np.ndarray, np.ndarray]:
    """Compute the slide probabilities of each network of a bundle.

    Args:
        prepared: set of tiles.
        tiles: (n,) indices of the tiles.
        outputs: (n, M, ...) outputs of the M networks for these tiles.
        document: content of bundle.json.

    Returns:
        The set of slides, (s,) slide indices in ascending order, and (s, M, classes) calibrated probabilities.
    """
    slides = by_slide(prepared)
    assert slides.slide_index is not None
    member = slides.slide_index[tiles]
    rows = np.unique(member)
    kind, scales = document["aggregation"], temperatures(document)
    return (
        slides,
        rows,
        np.stack([tiles_to_slide.member_probabilities(outputs[member == row], kind, scales) for row in rows]),
    )


def aggregate(slides: SlideDataset, tiles: np.ndarray, outputs: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Aggregate the outputs of one network for tiles to slides.

    Args:
        slides: set of slides.
        tiles: (n,) indices of the tiles.
        outputs: (n, ...) outputs for these tiles: logits, and the attention score if `kind` is attention.
        kind: aggregation method.

    Returns:
        (s,) slide indices in ascending order and (s, classes) float64 logits. The logits are the logarithms of the mean
        tile probabilities. If `kind` is attention, the logits are the attention-weighted mean of the tile logits.
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
