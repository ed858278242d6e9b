"""From the tiles of a slide to the slide: the mean of probabilities, or attention; then the slide's temperature.

`kind` is bundle.json's `aggregation`:

    mean       a tile's outputs are its probabilities (classes,); a slide's are their mean
    attention  a tile's outputs are its evidence per class and its attention score (classes + 1,); a slide's logits are
               the evidence weighted by the softmax of the scores over its tiles (Ilse, Tomczak and Welling 2018)
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MEAN, ATTENTION = KINDS = ("mean", "attention")
Floats = npt.NDArray[np.float64]


def extra_outputs(kind: object) -> int:
    """Outputs of a tile besides one per class."""
    return int(kind == ATTENTION)


def slide_probabilities(tiles: npt.NDArray[np.floating], kind: str) -> Floats:
    """(classes,) of one slide in double precision, from the outputs (n, ...) of its tiles; not calibrated."""
    if kind == MEAN:
        return mean_probabilities(tiles)
    return softmax(slide_logits(tiles))


def mean_probabilities(tiles: npt.NDArray[np.floating]) -> Floats:
    """(classes,) mean over the tiles (n, classes) of one slide, in double precision."""
    return np.asarray(tiles, np.float64).mean(axis=0)


def slide_logits(tiles: npt.NDArray[np.floating]) -> Floats:
    """(classes,) logits of one slide from the evidence and scores (n, classes + 1) of its tiles."""
    return attention_weights(tiles) @ np.asarray(tiles, np.float64)[:, :-1]


def member_probabilities(tiles: npt.NDArray[np.floating], kind: str, temperatures: Sequence[float]) -> Floats:
    """Calibrated probabilities (M, classes) of one slide by each of M networks.

    Args:
        tiles: (n, M, ...) outputs of the slide's tiles.
        kind: how tiles become the slide.
        temperatures: of slides, one per network.
    """
    return np.stack([calibrate(slide_probabilities(tiles[:, m], kind), each) for m, each in enumerate(temperatures)])


def attention_weights(tiles: npt.NDArray[np.floating]) -> Floats:
    """(n,) weight of each tile of one slide, summing to 1."""
    return softmax(np.asarray(tiles, np.float64)[:, -1])


def tile_probabilities(tiles: npt.NDArray[np.floating], kind: str) -> npt.NDArray[np.floating]:
    """(..., classes) probabilities of each tile alone; under attention, those of a slide of this one tile."""
    return tiles if kind == MEAN else softmax(np.asarray(tiles, np.float64)[..., :-1])


def softmax(logits: Floats) -> Floats:
    """Softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def calibrate(probabilities: npt.NDArray[np.floating], temperature: float) -> Floats:
    """Calibrated probabilities of slides (..., classes), rows summing to 1: p^(1/T), normalized.

    That is a temperature T on the logarithm of a slide's probabilities, where the temperature of a single image would
    be on its logits. 1 changes nothing.
    """
    powers = np.asarray(probabilities, np.float64) ** (1 / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)
