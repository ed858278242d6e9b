"""Temperature scaling: the logits are divided by a temperature T, which is fitted on validation images."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# Without the bounds, a separable validation set would have its optimum at T = 0, which is full certainty.
TEMPERATURE_BOUNDS = (0.1, 10.0)
# Standard deviation of the prior of log T around 0. Two standard deviations are a factor of e^(2 x 0.35) = 2. The
# likelihood counts one observation per patient. With hundreds of patients the prior has no effect. With 30 patients it
# keeps the temperatures of the folds close together, because the predictions of folds are pooled (docs/final_model.md).
PRIOR_SD = 0.35


@dataclass(frozen=True)
class Calibration:
    """Fitted temperature and its effect on the images of the fit.

    Attributes:
        temperature: divisor of the logits. 1 has no effect.
        nll_before: mean negative log-likelihood before calibration, in nats.
        nll_after: mean negative log-likelihood after calibration, in nats.
        brier_before: Brier score before calibration, as in `medtune.tasks.classification.metrics.brier`.
        brier_after: Brier score after calibration.
        at_bound: True if the optimum is outside `TEMPERATURE_BOUNDS`.
        images: number of images of the fit.
    """

    temperature: float
    nll_before: float
    nll_after: float
    brier_before: float
    brier_after: float
    at_bound: bool
    images: int

    def as_dict(self) -> dict[str, float | bool | int]:
        """Return the values for result.json."""
        return asdict(self)


def softmax(logits: npt.NDArray[Any], temperature: float = 1.0) -> Floats:
    """Compute probabilities (n, classes) in double precision; each row sums to 1."""
    return np.exp(_log_softmax(logits, temperature))


def nll(logits: npt.NDArray[Any], labels: Ints, temperature: float = 1.0) -> float:
    """Compute the mean negative log-likelihood of `labels` (n,) in nats."""
    return float(-_log_softmax(logits, temperature)[np.arange(len(labels)), labels].mean())


def brier(labels: Ints, probabilities: Floats) -> float:
    """Compute half the mean squared distance between probabilities (n, classes) and `labels` (n,), 0..1."""
    return float(((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1).mean() / 2)


def fit_temperature(
    logits: npt.NDArray[Any], labels: Ints, patient_ids: npt.NDArray[Any], kind: str = "temperature"
) -> Calibration:
    """Fit the temperature by maximum likelihood (Guo et al. 2017), with a prior around 1.

    Args:
        logits: (n, classes) logits of validation images.
        labels: (n,) class indices.
        patient_ids: (n,) patient of each image. Images of one patient are not independent observations.
        kind: `temperature`, or `none` for T = 1.

    Returns:
        The fitted temperature.
    """
    from scipy.optimize import minimize_scalar

    temperature, at_bound = 1.0, False
    if kind == "temperature":
        low, high = np.log(TEMPERATURE_BOUNDS)
        patients = len(np.unique(patient_ids))
        best = minimize_scalar(
            lambda t: nll(logits, labels, float(np.exp(t))) + (t / PRIOR_SD) ** 2 / (2 * patients),
            bounds=(low, high),
            method="bounded",
            options={"xatol": 1e-6},
        )
        temperature = float(np.exp(best.x))
        at_bound = bool(min(best.x - low, high - best.x) < 1e-3)
    return Calibration(
        temperature,
        nll(logits, labels),
        nll(logits, labels, temperature),
        brier(labels, softmax(logits)),
        brier(labels, softmax(logits, temperature)),
        at_bound,
        len(labels),
    )


def _log_softmax(logits: npt.NDArray[Any], temperature: float) -> Floats:
    scaled: Floats = np.asarray(logits, np.float64) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    log_sums: Floats = np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return scaled - log_sums
