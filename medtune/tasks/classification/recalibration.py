"""Logistic recalibration (Cox 1958; Van Calster et al. 2019): how probabilities would have to be stretched and shifted.

With x the logit of a stated probability and y whether the event happened, the calibration slope is b of
logit P(y) = a + b x, and the calibration intercept is a with b fixed at 1. Slope 1 and intercept 0 are perfect; a slope
below 1 means overconfident probabilities, an intercept above 0 means that the event is more frequent than stated.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# float32 probabilities reach 0 and 1, whose logits are infinite.
CLIP = 1e-6
MAX_STEPS = 40
TOLERANCE = 1e-11
# Newton's steps are no longer than this, so that far starting points converge.
MAX_STEP = 2.0


def logit(probabilities: npt.NDArray) -> Floats:
    """Logits of probabilities, which are clipped to `CLIP` from 0 and 1."""
    clipped = np.clip(np.asarray(probabilities, np.float64), CLIP, 1 - CLIP)
    return np.log(clipped) - np.log1p(-clipped)


def fit_slope(x: Floats, y: Floats, weights: Floats, start: Floats | None = None) -> Floats:
    """Fit (R, 2) intercepts and slopes of logit P(y) = a + b x by Newton's method, for R weightings at once.

    Args:
        x: (n,) logits of the stated probabilities.
        y: (n,) 1 where the event happened, else 0.
        weights: (R, n) of the images, at least 0.
        start: (2,) where to start; None: no change, a = 0 and b = 1.

    Returns:
        NaN where there is no finite optimum: one outcome only, or outcomes that x separates.
    """
    beta = np.tile(np.array([0.0, 1.0]) if start is None or np.isnan(start).any() else start, (len(weights), 1))
    found = np.full(beta.shape, np.nan)
    active = np.arange(len(weights))
    for _ in range(MAX_STEPS):
        own = weights[active]
        gradient, curvature = _derivatives(beta[active, 0, None] + beta[active, 1, None] * x, x, y, own)
        step = _solve(curvature, gradient)
        size = np.abs(step).max(axis=1)
        step *= np.minimum(1.0, MAX_STEP / np.maximum(size, 1e-300))[:, None]
        beta[active] += step
        done = size <= TOLERANCE * (1 + np.abs(beta[active]).max(axis=1))
        found[active[done]] = beta[active[done]]
        active = active[~done & np.isfinite(size)]
        if not len(active):
            break
    return found


def fit_intercept(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Fit (R,) intercepts of logit P(y) = a + x by Newton's method; NaN where there is one outcome only.

    Arguments as in `fit_slope`.
    """
    found = np.zeros(len(weights))
    events, total = weights @ y, weights.sum(axis=1)
    defined = (events > 0) & (events < total)
    for _ in range(MAX_STEPS):
        p = _sigmoid(found[:, None] + x)
        step = (events - np.einsum("rn,rn->r", weights, p)) / np.einsum("rn,rn->r", weights, p * (1 - p))
        step = np.clip(np.where(defined, step, 0.0), -MAX_STEP, MAX_STEP)
        found += step
        if (np.abs(step) <= TOLERANCE * (1 + np.abs(found))).all():
            break
    return np.where(defined, found, np.nan)


def _sigmoid(logits: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -logits))


def _derivatives(eta: Floats, x: Floats, y: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Gradient (R, 2) of the log-likelihood and its negative second derivatives (R, 3): aa, ab, bb."""
    p = _sigmoid(eta)
    residual, spread = weights * (y - p), weights * p * (1 - p)
    gradient = np.stack([residual.sum(axis=1), residual @ x], axis=1)
    return gradient, np.stack([spread.sum(axis=1), spread @ x, spread @ (x * x)], axis=1)


def _solve(curvature: Floats, gradient: Floats) -> Floats:
    aa, ab, bb = curvature.T
    determinant = aa * bb - ab**2
    usable = determinant > 1e-12 * np.maximum(aa * bb, 1e-300)
    step = np.stack([bb * gradient[:, 0] - ab * gradient[:, 1], aa * gradient[:, 1] - ab * gradient[:, 0]], axis=1)
    return np.divide(step, determinant[:, None], out=np.full_like(step, np.nan), where=usable[:, None])
