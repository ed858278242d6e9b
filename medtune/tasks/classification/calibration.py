"""Temperature scaling, fitted on validation images, so that probabilities mean what they say."""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# Wider buys nothing: a separable validation set would otherwise ask for T = 0, that is for certainty.
TEMPERATURE_BOUNDS = (0.1, 10.0)
# How far from 1 the temperature is thought to lie before anything is seen: within a factor e^(2 x 0.35) = 2. Against
# it stands the likelihood of as many observations as there are patients. With hundreds of them it does not matter.
# With 30 it keeps the temperatures of folds close together, whose predictions are pooled (docs/final_model.md).
PRIOR_SD = 0.35


@dataclass(frozen=True)
class Calibration:
    """A fitted temperature and what it did on the images it was fitted on.

    Attributes:
        temperature: logits are divided by it; 1 changes nothing.
        nll_before, nll_after: mean negative log-likelihood, nats.
        brier_before, brier_after: Brier score, as `medtune.tasks.classification.metrics.brier` has it.
        at_bound: the optimum lies outside `TEMPERATURE_BOUNDS`.
        images: how many images it was fitted on.
    """

    temperature: float
    nll_before: float
    nll_after: float
    brier_before: float
    brier_after: float
    at_bound: bool
    images: int

    def as_dict(self) -> dict[str, float | bool | int]:
        """What result.json says of it."""
        return asdict(self)


def softmax(logits: npt.NDArray, temperature: float = 1.0) -> Floats:
    """Probabilities (n, classes) in double precision, rows summing to 1."""
    return np.exp(_log_softmax(logits, temperature))


def nll(logits: npt.NDArray, labels: Ints, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of `labels` (n,), nats."""
    return float(-_log_softmax(logits, temperature)[np.arange(len(labels)), labels].mean())


def brier(labels: Ints, probabilities: Floats) -> float:
    """Half the mean squared distance of probabilities (n, classes) from `labels` (n,), 0..1."""
    return float(((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1).mean() / 2)


def fit_temperature(
    logits: npt.NDArray, labels: Ints, patient_ids: npt.NDArray, kind: str = "temperature"
) -> Calibration:
    """The temperature that makes validation `labels` likeliest (Guo et al. 2017), held near 1 when patients are few.

    Args:
        logits: (n, classes) of validation images.
        labels: (n,) class indices.
        patient_ids: (n,) patients: images of one are no independent evidence.
        kind: `temperature`, or `none` for T = 1.
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


def _log_softmax(logits: npt.NDArray, temperature: float) -> Floats:
    scaled = np.asarray(logits, np.float64) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
