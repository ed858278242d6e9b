"""Aggregation of tile outputs to slide probabilities, followed by temperature scaling.

`kind` is the entry `aggregation` of bundle.json:

    mean       The outputs of a tile are its probabilities (classes,). The mean over the tiles is the probability of
               the slide.
    attention  The outputs of a tile are a logit per class and an attention score (classes + 1,). The logits of the
               slide are the mean over the tiles, weighted by the softmax of the scores (Ilse, Tomczak and Welling
               2018).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MEAN, ATTENTION = KINDS = ("mean", "attention")
Floats = npt.NDArray[np.float64]


def extra_outputs(kind: object) -> int:
    """Return the number of outputs per tile in addition to the classes."""
    return int(kind == ATTENTION)


def slide_probabilities(tiles: npt.NDArray[np.floating], kind: str) -> Floats:
    """Aggregate the outputs (n, ...) of a slide's tiles to uncalibrated probabilities, float64 (classes,)."""
    if kind == MEAN:
        return mean_probabilities(tiles)
    return softmax(slide_logits(tiles))


def mean_probabilities(tiles: npt.NDArray[np.floating]) -> Floats:
    """Average the probabilities (n, classes) of a slide's tiles, float64 (classes,)."""
    mean: Floats = np.asarray(tiles, np.float64).mean(axis=0)
    return mean


def slide_logits(tiles: npt.NDArray[np.floating]) -> Floats:
    """Compute the logits (classes,) of a slide from the logits and scores (n, classes + 1) of its tiles."""
    return attention_weights(tiles) @ np.asarray(tiles, np.float64)[:, :-1]


def member_probabilities(tiles: npt.NDArray[np.floating], kind: str, temperatures: Sequence[float]) -> Floats:
    """Compute calibrated probabilities of one slide for each of M networks.

    Args:
        tiles: outputs (n, M, ...) of the slide's tiles.
        kind: kind of aggregation.
        temperatures: calibration temperature of each network.

    Returns:
        float64 (M, classes).
    """
    return np.stack([calibrate(slide_probabilities(tiles[:, m], kind), t) for m, t in enumerate(temperatures)])


def attention_weights(tiles: npt.NDArray[np.floating]) -> Floats:
    """Return the weights (n,) of a slide's tiles, which sum to 1."""
    return softmax(np.asarray(tiles, np.float64)[:, -1])


def tile_probabilities(tiles: npt.NDArray[np.floating], kind: str) -> npt.NDArray[np.floating]:
    """Return the probabilities (..., classes) of each tile, as if the slide had only this tile."""
    return tiles if kind == MEAN else softmax(np.asarray(tiles, np.float64)[..., :-1])


def softmax(logits: Floats) -> Floats:
    """Compute the softmax over the last axis."""
    powers: Floats = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def calibrate(probabilities: npt.NDArray[np.floating], temperature: float) -> Floats:
    """Calibrate probabilities p of slides: return p^(1/T), normalized. T = 1 changes nothing.

    Args:
        probabilities: (..., classes).
        temperature: the temperature T, above 0.

    Returns:
        float64 (..., classes), rows sum to 1.
    """
    powers = np.asarray(probabilities, np.float64) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
