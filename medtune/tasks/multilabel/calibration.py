"""Scale and offset of each finding's logits, fitted on validation images (Platt 1999).

Class weights move the logits of rare findings up, by the logarithm of the weight: a temperature alone leaves that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
SCALE_BOUNDS, OFFSET_BOUND = (0.1, 10.0), 10.0
# How far from 1 and 0 they are thought to lie before anything is seen: a factor of 2.7 either way, and an offset of
# twice the logarithm of the largest class weight. Against it stands the likelihood of as many observations as there
# are patients.
SCALE_SD, OFFSET_SD = 0.5, 3.0


@dataclass(frozen=True)
class FindingCalibration:
    """Fitted scales and offsets.

    Attributes:
        scale, offset: (findings,) a calibrated logit is scale * logit + offset.
        nll_before, nll_after: mean negative log-likelihood over images and findings, nats.
        reasons: why a finding is not calibrated, by its name.
        images: how many images they were fitted on.
    """

    scale: Floats
    offset: Floats
    nll_before: float
    nll_after: float
    reasons: dict[str, str]
    images: int

    def as_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """What result.json says of it."""
        return {
            "scale": dict(zip(names, self.scale.tolist(), strict=True)),
            "offset": dict(zip(names, self.offset.tolist(), strict=True)),
            "nll_before": self.nll_before,
            "nll_after": self.nll_after,
            "reasons": self.reasons,
            "images": self.images,
        }

    def probabilities(self, logits: npt.NDArray) -> Floats:
        """Calibrated probabilities (n, findings) in double precision."""
        return sigmoid(self.scale * np.asarray(logits, np.float64) + self.offset)


def sigmoid(logits: npt.NDArray) -> Floats:
    """Probabilities in double precision."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(logits, np.float64)))


def nll(logits: Floats, labels: npt.NDArray) -> float:
    """Mean negative log-likelihood of labels, nats."""
    return float((np.logaddexp(0.0, logits) - logits * labels).mean())


def fit(
    logits: npt.NDArray, labels: npt.NDArray, patient_ids: npt.NDArray, names: Sequence[str], kind: str = "temperature"
) -> FindingCalibration:
    """Scale and offset that make each finding's validation labels likeliest, held near 1 and 0 when patients are few.

    Args:
        logits: (n, findings) of validation images.
        labels: (n, findings), 1 where the image shows the finding.
        patient_ids: (n,) patients: images of one are no independent evidence.
        names: findings.
        kind: `temperature`, or `none` for scale 1 and offset 0.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    scale, offset = np.ones(len(names)), np.zeros(len(names))
    reasons = {}
    for k, name in enumerate(names):
        if kind == "none":
            continue
        if labels[:, k].all() or not labels[:, k].any():
            some = "every" if labels[:, k].any() else "no"
            reasons[name] = f"{some} validation image shows it: not calibrated"
            continue
        scale[k], offset[k] = _fit_one(logits[:, k], labels[:, k], len(np.unique(patient_ids)))
    calibrated = scale * logits + offset
    return FindingCalibration(scale, offset, nll(logits, labels), nll(calibrated, labels), reasons, len(labels))


def _fit_one(logits: Floats, labels: Floats, patients: int) -> tuple[float, float]:
    from scipy.optimize import minimize

    spread = np.array([SCALE_SD, OFFSET_SD])

    def penalized(values: Floats) -> tuple[float, Floats]:
        scaled = np.exp(values[0]) * logits
        difference = sigmoid(scaled + values[1]) - labels
        slope = np.array([(difference * scaled).mean(), difference.mean()]) + values / spread**2 / patients
        return nll(scaled + values[1], labels) + float(((values / spread) ** 2).sum()) / (2 * patients), slope

    low, high = np.log(SCALE_BOUNDS)
    bounds = [(low, high), (-OFFSET_BOUND, OFFSET_BOUND)]
    best = minimize(penalized, np.zeros(2), jac=True, method="L-BFGS-B", bounds=bounds)
    return float(np.exp(best.x[0])), float(best.x[1])
