"""Logistic recalibration: calibration slope and intercept (Cox 1958; Van Calster et al. 2019).

Let x be the logit of a predicted probability and y the outcome, 0 or 1. The calibration slope is b in the model
logit P(y = 1) = a + b x. The calibration intercept is a in this model with b fixed at 1. Perfect calibration has slope
1 and intercept 0. A slope below 1 means overconfident probabilities. An intercept above 0 means that the outcome 1 is
more frequent than predicted.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# float32 probabilities may be exactly 0 or 1, whose logits are infinite.
CLIP = 1e-6
MAX_STEPS = 40
TOLERANCE = 1e-11
# Limit of a Newton step, so that distant starting points converge.
MAX_STEP = 2.0


def logit(probabilities: npt.NDArray[Any]) -> Floats:
    """Compute the logits of probabilities, which are clipped to `CLIP` from 0 and 1."""
    clipped = np.clip(np.asarray(probabilities, np.float64), CLIP, 1 - CLIP)
    logits: Floats = np.log(clipped) - np.log1p(-clipped)
    return logits


def fit_slope(x: Floats, y: Floats, weights: Floats, start: Floats | None = None) -> Floats:
    """Fit intercepts and slopes of logit P(y = 1) = a + b x by Newton's method, for R weightings at once.

    Args:
        x: (n,) logits of the predicted probabilities.
        y: (n,) outcomes, 0 or 1.
        weights: (R, n) weights of the images, at least 0.
        start: (2,) starting point; None for a = 0 and b = 1.

    Returns:
        (R, 2) intercepts and slopes; NaN without a finite optimum. There is none if all outcomes are equal, or if x
        separates the outcomes.
    """
    beta = np.tile(np.array([0.0, 1.0]) if start is None or np.isnan(start).any() else start, (len(weights), 1))
    fitted = np.full(beta.shape, np.nan)
    active = np.arange(len(weights))
    for _ in range(MAX_STEPS):
        eta = beta[active, 0, None] + beta[active, 1, None] * x
        gradient, curvature = _derivatives(eta, x, y, weights[active])
        step = _solve(curvature, gradient)
        size = np.abs(step).max(axis=1)
        step *= np.minimum(1.0, MAX_STEP / np.maximum(size, 1e-300))[:, None]
        beta[active] += step
        done = size <= TOLERANCE * (1 + np.abs(beta[active]).max(axis=1))
        fitted[active[done]] = beta[active[done]]
        active = active[~done & np.isfinite(size)]
        if not len(active):
            break
    return fitted


def fit_intercept(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Fit intercepts of logit P(y = 1) = a + x by Newton's method, for R weightings at once.

    Args:
        x: (n,) logits of the predicted probabilities.
        y: (n,) outcomes, 0 or 1.
        weights: (R, n) weights of the images, at least 0.

    Returns:
        (R,) intercepts; NaN if all outcomes are equal.
    """
    intercepts = np.zeros(len(weights))
    events, total = weights @ y, weights.sum(axis=1)
    defined = (events > 0) & (events < total)
    for _ in range(MAX_STEPS):
        p = _sigmoid(intercepts[:, None] + x)
        step = (events - np.einsum("rn,rn->r", weights, p)) / np.einsum("rn,rn->r", weights, p * (1 - p))
        step = np.clip(np.where(defined, step, 0.0), -MAX_STEP, MAX_STEP)
        intercepts += step
        if (np.abs(step) <= TOLERANCE * (1 + np.abs(intercepts))).all():
            break
    return np.where(defined, intercepts, np.nan)


def _sigmoid(logits: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -logits))


def _derivatives(eta: Floats, x: Floats, y: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Compute the gradient (R, 2) of the log-likelihood and its negative second derivatives (R, 3) aa, ab, bb."""
    p = _sigmoid(eta)
    residual, spread = weights * (y - p), weights * p * (1 - p)
    gradient = np.stack([residual.sum(axis=1), residual @ x], axis=1)
    return gradient, np.stack([spread.sum(axis=1), spread @ x, spread @ (x * x)], axis=1)


def _solve(curvature: Floats, gradient: Floats) -> Floats:
    aa, ab, bb = curvature.T
    determinant = aa * bb - ab**2
    usable = determinant > 1e-12 * np.maximum(aa * bb, 1e-300)
    step = np.stack([bb * gradient[:, 0] - ab * gradient[:, 1], aa * gradient[:, 1] - ab * gradient[:, 0]], axis=1)
    solution: Floats = np.divide(step, determinant[:, None], out=np.full_like(step, np.nan), where=usable[:, None])
    return solution
