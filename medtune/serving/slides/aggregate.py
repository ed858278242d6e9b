"""From the tiles of a slide to the slide: the mean of the tiles' probabilities, then the slide's temperature."""

import numpy as np
import numpy.typing as npt

KINDS = ("mean",)
Floats = npt.NDArray[np.float64]


def mean_probabilities(tiles: npt.NDArray[np.floating]) -> Floats:
    """(classes,) mean over the tiles (n, classes) of one slide, in double precision."""
    return np.asarray(tiles, np.float64).mean(axis=0)


def calibrate(probabilities: npt.NDArray[np.floating], temperature: float) -> Floats:
    """Calibrated probabilities of slides (..., classes), rows summing to 1: p^(1/T), normalized.

    That is a temperature T on the logarithm of the mean, where the temperature of a single image would be on its
    logits. 1 changes nothing.
    """
    powers = np.asarray(probabilities, np.float64) ** (1 / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)
