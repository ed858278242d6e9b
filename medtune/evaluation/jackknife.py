"""Jackknife over patients: metrics without each patient, and their standard error.

Images of one patient are similar, so each patient is left out with all images (Efron and Stein 1981). Patients whose
images have a single class form one stratum per class. The strata count as separate samples. A metric of one class
therefore has the degrees of freedom of the patients of this class. With more than `MAX_GROUPS` patients, groups of
patients are left out (Kott 2001). The jackknife of 100,000 images then takes seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medtune.evaluation.metric import Floats, Metric, PatientStats, compute

Ints = npt.NDArray[np.int64]
MAX_GROUPS = 200
MAX_WEIGHTS = 2_000_000  # weights in memory at a time: 16 MB as float64


@dataclass(frozen=True)
class Jackknife:
    """Jackknife design: the groups of patients that are left out together.

    P is the number of patients, G the number of groups and S the number of strata.

    Attributes:
        group: (P,) group of each patient, 0 to G - 1. With at most `MAX_GROUPS` patients, every patient is a group.
        stratum: (G,) stratum of each group, 0 to S - 1. A stratum has at least two groups, unless G is 1.
        size: (G,) number of images of each group.
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
        """Compute metrics without each group.

        Args:
            metrics: metrics to compute.
            stats: statistics of all patients or of a subset.
            members: index of each patient of `stats` among all patients. None means that `stats` has all patients.

        Returns:
            (G,) values by name, NaN if undefined.
        """
        group = self.group if members is None else self.group[members]
        chunk = max(1, MAX_WEIGHTS // max(len(group), stats.width))
        parts: dict[str, list[Floats]] = {}
        for start in range(0, self.n_groups, chunk):
            left_out = np.arange(start, min(start + chunk, self.n_groups))
            weights = (group[None, :] != left_out[:, None]).astype(np.float64)
            for name, value in compute(metrics, stats, weights).items():
                parts.setdefault(name, []).append(value)
        return {name: np.concatenate(values) for name, values in parts.items()}

    def spread(self, left: Floats, patients: float, size_power: float) -> tuple[float, float]:
        """Compute the standard error of a metric and its degrees of freedom (Satterthwaite 1946).

        Args:
            left: (G,) finite values without each group, on the scale of the interval.
            patients: number of patients that the metric depends on, which limits the degrees of freedom.
            size_power: see `Metric.size_power`.

        Returns:
            Standard error and degrees of freedom.
        """
        n = np.bincount(self.stratum)
        mean = np.bincount(self.stratum, weights=left) / n
        squares = np.bincount(self.stratum, weights=(left - mean[self.stratum]) ** 2)
        variance = squares * (n - 1) / n
        total = float(variance.sum())
        degrees = total**2 / float((variance**2 / self.degrees(size_power)).sum()) if total > 0 else np.inf
        return total**0.5, min(degrees, max(patients - 1.0, 1.0))

    def degrees(self, size_power: float) -> Floats:
        """Compute the degrees of freedom of each stratum: the effective number of groups minus one, at least one.

        The variance of a group's contribution is assumed to be proportional to `size ** size_power` (Bell and
        McCaffrey 2002).

        Args:
            size_power: see `Metric.size_power`.

        Returns:
            (S,) degrees of freedom.
        """
        variance = self.size**size_power
        effective = np.bincount(self.stratum, weights=variance) ** 2 / np.bincount(self.stratum, weights=variance**2)
        return np.maximum(effective - 1, 1.0)

    def skewness(self, left: Floats) -> float:
        """Estimate the skewness of a metric's distribution from its values without each group, shape (G,)."""
        n = np.bincount(self.stratum)
        mean = np.bincount(self.stratum, weights=left) / n
        influence = (mean[self.stratum] - left) * np.sqrt((n - 1) / n)[self.stratum]
        return float((influence**3).sum() / (influence**2).sum() ** 1.5)


def jackknife(stats: PatientStats, strata: Ints | None = None) -> Jackknife:
    """Build the jackknife design.

    Args:
        stats: statistics of the images. The optional attributes `strata` (P,) and `sizes` (P,) are used (see
            `PatientStats`).
        strata: (P,) strata that replace those of `stats`.

    Returns:
        The design.
    """
    n = stats.n_patients
    strata = getattr(stats, "strata", None) if strata is None else strata
    sizes = np.asarray(getattr(stats, "sizes", np.ones(n)), np.float64)
    stratum = _merge_singles(np.zeros(n, np.int64) if strata is None else np.unique(strata, return_inverse=True)[1])
    counts = np.bincount(stratum)
    most = _groups_per_stratum(counts)
    group, parts, start = np.empty(n, np.int64), [], 0
    for k, count in enumerate(counts.tolist()):
        groups = min(count, most)
        group[stratum == k] = start + np.arange(count) % groups
        parts.append(np.full(groups, k))
        start += groups
    return Jackknife(group, np.concatenate(parts), np.bincount(group, weights=sizes).astype(np.float64))


def _merge_singles(stratum: Ints) -> Ints:
    """Merge the strata with one patient into one stratum; a single such stratum joins the largest stratum."""
    counts = np.bincount(stratum)
    single = counts == 1
    if single.any() and len(counts) > 1:
        target = int(np.argmax(counts)) if single.sum() == 1 else int(np.flatnonzero(single)[0])
        stratum = np.where(single[stratum], target, stratum)
    return np.unique(stratum, return_inverse=True)[1]


def _groups_per_stratum(counts: Ints) -> int:
    """Return the largest number of groups per stratum, at least 2, that keeps the total within `MAX_GROUPS`."""
    most = int(counts.max())
    if counts.sum() > MAX_GROUPS:
        low, high = 2, most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if np.minimum(counts, middle).sum() <= MAX_GROUPS else (low, middle - 1)
        most = low
    return max(most, 2)
