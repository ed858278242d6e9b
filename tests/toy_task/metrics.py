"""Mean absolute error of the fractions, from sums per patient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medtune.evaluation.metric import Floats, Metric


@dataclass(frozen=True)
class Stats:
    """Sums (patients, 2) of the absolute error and of the images."""

    sums: Floats

    @property
    def n_patients(self) -> int:
        return len(self.sums)

    width = 1

    def weighted(self, weights: Floats) -> Floats:
        return weights @ self.sums


def accumulate(errors: Floats, patients: np.ndarray) -> Stats:
    """Sum the errors of images (n,) per patient (n,)."""
    names, member = np.unique(patients, return_inverse=True)
    return Stats(np.stack([np.bincount(member, weights=w, minlength=len(names)) for w in (errors, None)], axis=1))


def example(patients: Sequence[str], seed: int) -> Stats:
    """Create statistics with one synthetic image per patient."""
    errors = [np.random.default_rng([seed, *name.encode()]).random() for name in patients]
    return accumulate(np.array(errors), np.arange(len(errors)))


def mae(sums: Floats) -> Floats:
    """Compute the mean over images (R,)."""
    return sums[:, 0] / sums[:, 1]


METRICS = (Metric("mae", "mean absolute error", "min", mae, each_epoch=True, headline=True),)
