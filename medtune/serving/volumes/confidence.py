"""Probability of the predicted label of each voxel after temperature scaling.

The probabilities p of a voxel are the mean over overlapping windows, mirrored views and networks. Temperature scaling
(Guo et al. 2017, arXiv 1706.04599) divides their logarithms by the temperature T, so that p becomes proportional to
p ** (1 / T). For a voxel in one window this equals a division of the logits before the softmax. The order of the
classes does not change, and therefore no label map changes. A division of the logits in each window could change label
maps. A window has less effect on the mean if its probabilities are less extreme.
"""

from typing import Any

import numpy as np

from medtune.serving.field_error import FieldError

# Smaller probabilities are replaced by this one, because the logarithm of 0 is not finite.
TINY = 1e-30


def log_ratios(probabilities: np.ndarray) -> np.ndarray:
    """Return the logarithm of each probability divided by the largest probability of the voxel.

    Args:
        probabilities: (K, ...) probabilities of K classes.

    Returns:
        (K, ...), 0 for the most probable class and negative for the others.
    """
    logs = np.log(np.maximum(probabilities, TINY))
    return np.asarray(logs - logs.max(axis=0))


def scaled_confidence(ratios: np.ndarray, temperature: float) -> np.ndarray:
    """Return the scaled probability (...) of the most probable class, from `log_ratios` (K, ...)."""
    return np.asarray(1 / np.exp(ratios / temperature).sum(axis=0))


def confidence(probabilities: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Compute the probability of the most probable class of each voxel.

    Args:
        probabilities: float32 (K, X, Y, Z) mean probabilities of K classes.
        temperature: positive divisor of the logarithms. 1 has no effect.

    Returns:
        float32 (X, Y, Z).
    """
    if temperature == 1:
        return np.asarray(probabilities.max(axis=0))
    result = np.empty(probabilities.shape[1:], np.float32)
    for plane in range(len(result)):  # the logarithms of all planes would double the memory
        result[plane] = scaled_confidence(log_ratios(probabilities[:, plane]), temperature)
    return result


def parse_temperature(value: Any) -> float:
    """Return the temperature in bundle.json. Older bundles have None, which counts as 1.

    Raises:
        FieldError: the value is not a positive number.
    """
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise FieldError("temperature", value, "a positive number")
    return float(value)
