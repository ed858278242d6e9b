"""Interpolation of quantities of a volume between a few temperatures.

Temperatures are fitted after the volumes are predicted. The probabilities of complete volumes are too large to store.
The uncertainty of a label and the negative log-likelihood are smooth functions of the logarithm of the temperature. A
polynomial through the values at Chebyshev points therefore approximates them between these points (Trefethen,
Approximation Theory and Approximation Practice, 2013, chapter 8). For probabilities, the error is below 1e-5.
"""

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev

Floats = npt.NDArray[np.float64]
# Bounds of the temperature. Without bounds, perfect predictions would have the temperature 0.
LOWEST, HIGHEST = 0.25, 4.0
NODES = 16
_POINTS = chebyshev.chebpts1(NODES)
_CENTER, _RADIUS = np.log(LOWEST * HIGHEST) / 2, np.log(HIGHEST / LOWEST) / 2
_TO_COEFFICIENTS = np.linalg.inv(chebyshev.chebvander(_POINTS, NODES - 1))

TEMPERATURES: tuple[float, ...] = tuple(np.exp(_CENTER + _RADIUS * _POINTS).tolist())
"""The temperatures at which the quantities are computed, ascending."""


def at_temperature(values: Floats, temperature: float) -> Floats:
    """Interpolate quantities.

    Args:
        values: (NODES, ...) values at `TEMPERATURES`. A column with NaN gives NaN.
        temperature: from `LOWEST` to `HIGHEST`.

    Returns:
        (...) values at the temperature.

    Raises:
        ValueError: the temperature is out of range.
    """
    if not LOWEST <= temperature <= HIGHEST:
        raise ValueError(f"temperature {temperature:g}: expected {LOWEST:g} to {HIGHEST:g}")
    position = (np.log(temperature) - _CENTER) / _RADIUS
    weights = chebyshev.chebvander(np.array([position]), NODES - 1)[0] @ _TO_COEFFICIENTS
    return np.asarray(np.tensordot(weights, values, axes=1))
