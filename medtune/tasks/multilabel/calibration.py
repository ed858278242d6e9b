"""Scale and offset of each finding's logits, fitted on validation images (Platt 1999).

Class weights increase the logits of rare findings by the logarithm of the weight. A temperature alone cannot correct
this shift.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
SCALE_BOUNDS, OFFSET_BOUND = (0.1, 10.0), 10.0
# Standard deviations of the priors of log scale and offset around 0. Two standard deviations of log scale are a factor
# of 2.7. Two of the offset are twice the logarithm of the largest automatic class weight. The likelihood counts one
# observation per patient.
SCALE_SD, OFFSET_SD = 0.5, 3.0


@dataclass(frozen=True)
class FindingCalibration:
    """Fitted scales and offsets. A calibrated logit is scale * logit + offset.

    Attributes:
        scale: (findings,) scale of the logits.
        offset: (findings,) offset of the logits.
        nll_before: mean negative log-likelihood over images and findings before calibration, in nats.
        nll_after: mean negative log-likelihood over images and findings after calibration, in nats.
        reasons: reasons why findings are not calibrated, by name.
        images: number of images of the fit.
    """

    scale: Floats
    offset: Floats
    nll_before: float
    nll_after: float
    reasons: dict[str, str]
    images: int

    def as_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the values for result.json."""
        return {
            "scale": dict(zip(names, self.scale.tolist(), strict=True)),
            "offset": dict(zip(names, self.offset.tolist(), strict=True)),
            "nll_before": self.nll_before,
            "nll_after": self.nll_after,
            "reasons": self.reasons,
            "images": self.images,
        }

    def probabilities(self, logits: npt.NDArray[Any]) -> Floats:
        """Compute calibrated probabilities (n, findings) in double precision."""
        return sigmoid(self.scale * np.asarray(logits, np.float64) + self.offset)


def sigmoid(logits: npt.NDArray[Any]) -> Floats:
    """Compute probabilities in double precision."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(logits, np.float64)))


def nll(logits: Floats, labels: npt.NDArray[Any]) -> float:
    """Compute the mean negative log-likelihood of labels in nats."""
    return float((np.logaddexp(0.0, logits) - logits * labels).mean())


def fit(
    logits: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    patient_ids: npt.NDArray[Any],
    names: Sequence[str],
    kind: str = "temperature",
) -> FindingCalibration:
    """Fit scale and offset of each finding by maximum likelihood, with priors around 1 and 0.

    Args:
        logits: (n, findings) logits of validation images.
        labels: (n, findings) 1 if the image shows the finding.
        patient_ids: (n,) patient of each image. Images of one patient are not independent observations.
        names: names of the findings.
        kind: `temperature`, or `none` for scale 1 and offset 0.

    Returns:
        The fitted calibration.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    scale, offset = np.ones(len(names)), np.zeros(len(names))
    reasons = {}
    for k, name in enumerate(names):
        if kind == "none":
            continue
        if labels[:, k].all() or not labels[:, k].any():
            quantifier = "every" if labels[:, k].any() else "no"
            reasons[name] = f"{quantifier} validation image shows it, so it is not calibrated"
            continue
        scale[k], offset[k] = _fit_finding(logits[:, k], labels[:, k], len(np.unique(patient_ids)))
    calibrated = scale * logits + offset
    return FindingCalibration(scale, offset, nll(logits, labels), nll(calibrated, labels), reasons, len(labels))


def _fit_finding(logits: Floats, labels: Floats, patients: int) -> tuple[float, float]:
    """Return the scale and offset of one finding, given its logits (n,) and labels (n,)."""
    from scipy.optimize import minimize

    prior_sd = np.array([SCALE_SD, OFFSET_SD])

    def penalized(values: Floats) -> tuple[float, Floats]:
        scaled = np.exp(values[0]) * logits
        residual = sigmoid(scaled + values[1]) - labels
        gradient = np.array([(residual * scaled).mean(), residual.mean()]) + values / prior_sd**2 / patients
        return nll(scaled + values[1], labels) + float(((values / prior_sd) ** 2).sum()) / (2 * patients), gradient

    low, high = np.log(SCALE_BOUNDS)
    bounds = [(low, high), (-OFFSET_BOUND, OFFSET_BOUND)]
    best = minimize(penalized, np.zeros(2), jac=True, method="L-BFGS-B", bounds=bounds)
    return float(np.exp(best.x[0])), float(best.x[1])
