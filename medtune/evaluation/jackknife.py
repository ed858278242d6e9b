"""Metrics with each patient left out in turn, and the standard error that follows from them.

Images of one patient resemble each other, so a patient is left out with all its images (Efron and Stein 1981). Patients
with one class form strata: a set of 5 benign and 12 malignant patients is a sample of each, and the degrees of freedom
of a metric are those of the patients that it rests on. Above `MAX_GROUPS` patients, groups of them are left out
(Kott 2001), so that 100,000 images take seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medtune.evaluation.metric import Floats, Metric, PatientStats, compute

Ints = npt.NDArray[np.int64]
MAX_GROUPS = 200
CHUNK_CELLS = 2_000_000  # weights held at once: 16 MB as float64


@dataclass(frozen=True)
class Jackknife:
    """Which patients are left out together.

    Attributes:
        group: (P,) group of each patient, 0 to G - 1; up to `MAX_GROUPS` patients each is a group of its own.
        stratum: (G,) stratum of each group, 0 to S - 1; a stratum has at least two groups where there are two.
        size: (G,) images of each group.
    """

    group: Ints
    stratum: Ints
    size: Floats

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.stratum)

    def leave_out(
        self, metrics: Sequence[Metric], stats: PatientStats, members: Ints | None = None
    ) -> dict[str, Floats]:
        """Compute metrics (G,) without each group, by name; NaN where undefined.

        Args:
            metrics: those to compute.
            stats: of all patients, or of some of them.
            members: index of each patient of `stats` among all patients; None: these are all.
        """
        group = self.group if members is None else self.group[members]
        chunk = max(1, CHUNK_CELLS // max(len(group), stats.width))
        parts: dict[str, list[Floats]] = {}
        for start in range(0, self.n_groups, chunk):
            left_out = np.arange(start, min(start + chunk, self.n_groups))
            weights = (group[None, :] != left_out[:, None]).astype(np.float64)
            for name, value in compute(metrics, stats, weights).items():
                parts.setdefault(name, []).append(value)
        return {name: np.concatenate(values) for name, values in parts.items()}

    def spread(self, left: Floats, patients: float, size_power: float) -> tuple[float, float]:
        """Return the standard error of a metric and its degrees of freedom (Satterthwaite 1946).

        Args:
            left: (G,) the metric, on the scale of the interval, without each group; finite.
            patients: that the metric rests on; there are fewer degrees of freedom than these.
            size_power: as `Metric.size_power` says.
        """
        n = np.bincount(self.stratum)
        mean = np.bincount(self.stratum, weights=left) / n
        squares = np.bincount(self.stratum, weights=(left - mean[self.stratum]) ** 2)
        variance = squares * (n - 1) / n
        total = float(variance.sum())
        degrees = total**2 / float((variance**2 / self.degrees(size_power)).sum()) if total > 0 else np.inf
        return total**0.5, min(degrees, max(patients - 1.0, 1.0))

    def degrees(self, size_power: float) -> Floats:
        """Return the degrees of freedom (S,) of each stratum: its effective number of groups less one, at least one.

        The variance of what a group contributes is taken as proportional to its images to the power of `size_power`
        (Bell and McCaffrey 2002).
        """
        share = self.size**size_power
        effective = np.bincount(self.stratum, weights=share) ** 2 / np.bincount(self.stratum, weights=share**2)
        return np.maximum(effective - 1, 1.0)

    def skewness(self, left: Floats) -> float:
        """Return the skewness of a metric's distribution, estimated from its values (G,) without each group."""
        n = np.bincount(self.stratum)
        mean = np.bincount(self.stratum, weights=left) / n
        influence = (mean[self.stratum] - left) * np.sqrt((n - 1) / n)[self.stratum]
        return float((influence**3).sum() / (influence**2).sum() ** 1.5)


def jackknife(stats: PatientStats, strata: Ints | None = None) -> Jackknife:
    """Decide which patients are left out together.

    Args:
        stats: of the set of images. Its `strata` (P,), if it has them, are the class of each patient with one class,
            and its `sizes` (P,) the images of each patient.
        strata: (P,) instead of those of `stats`.
    """
    n = stats.n_patients
    found = getattr(stats, "strata", None) if strata is None else strata
    sizes = np.asarray(getattr(stats, "sizes", np.ones(n)), np.float64)
    stratum = _without_singles(np.zeros(n, np.int64) if found is None else np.unique(found, return_inverse=True)[1])
    counts = np.bincount(stratum)
    most = _groups_per_stratum(counts)
    group, of_group, start = np.empty(n, np.int64), [], 0
    for k, count in enumerate(counts.tolist()):
        groups = min(count, most)
        group[stratum == k] = start + np.arange(count) % groups
        of_group.append(np.full(groups, k))
        start += groups
    of_groups = np.concatenate(of_group)
    return Jackknife(group, of_groups, np.bincount(group, weights=sizes).astype(np.float64))


def _without_singles(stratum: Ints) -> Ints:
    """Strata 0 to S - 1 in which those of one patient are merged, or joined to the largest if there is one such."""
    counts = np.bincount(stratum)
    single = counts == 1
    if single.any() and len(counts) > 1:
        target = int(np.argmax(counts)) if single.sum() == 1 else int(np.flatnonzero(single)[0])
        stratum = np.where(single[stratum], target, stratum)
    return np.unique(stratum, return_inverse=True)[1]


def _groups_per_stratum(counts: Ints) -> int:
    """Most groups of a stratum, at least 2, so that all strata together have at most `MAX_GROUPS` where they can."""
    most = int(counts.max())
    if counts.sum() > MAX_GROUPS:
        low, high = 2, most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if np.minimum(counts, middle).sum() <= MAX_GROUPS else (low, middle - 1)
        most = low
    return max(most, 2)
