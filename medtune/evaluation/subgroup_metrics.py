"""Data classes for subgroups and the differences between them."""

from dataclasses import dataclass
from typing import Any

from medtune.evaluation.intervals import Interval


@dataclass(frozen=True)
class Subgroup:
    """Images with the same value of a column.

    Attributes:
        value: value of the column, a range of numbers, or `medtune.evaluation.subgroup_columns.NOT_RECORDED`.
        n_images: number of images.
        n_patients: number of patients with at least one of these images.
        support: number of patients with images of each class; empty in a task without classes.
        metrics: metrics by name. A metric without a value or an interval has a reason.
        notes: limitations of these metrics, one sentence each.
    """

    value: str
    n_images: int
    n_patients: int
    support: dict[str, int]
    metrics: dict[str, Interval]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Convert to JSON values for metrics.json."""
        return {
            "value": self.value,
            "n_images": self.n_images,
            "n_patients": self.n_patients,
            "patients_by_class": self.support,
            "metrics": {name: metric.as_dict() for name, metric in self.metrics.items()},
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Gap:
    """Difference of a metric between two subgroups.

    Attributes:
        metric: name of the metric.
        first: value of the first subgroup.
        second: value of the second subgroup.
        difference: metric of `first` minus that of `second`, with its paired interval over patients.
        n_pairs: number of pairs of subgroups that have an interval for this metric.
        simultaneous: interval that holds for all these pairs simultaneously; None for fewer than two pairs.
    """

    metric: str
    first: str
    second: str
    difference: Interval
    n_pairs: int = 1
    simultaneous: tuple[float, float] | None = None

    @property
    def ends(self) -> tuple[float, float] | None:
        """Interval to print: the simultaneous one if there are several pairs; None if there is no interval."""
        if self.simultaneous is not None or self.difference.lo is None or self.difference.hi is None:
            return self.simultaneous
        return self.difference.lo, self.difference.hi

    def as_dict(self) -> dict[str, Any]:
        """Convert to JSON values for metrics.json."""
        entry = {"metric": self.metric, "first": self.first, "second": self.second, **self.difference.as_dict()}
        if self.simultaneous is None:
            return entry
        return {**entry, "n_pairs": self.n_pairs, "simultaneous": list(self.simultaneous)}


@dataclass(frozen=True)
class Subgroups:
    """Subgroups of one column.

    Attributes:
        column: name of the column.
        subgroups: one subgroup per value, in the order of tables.
        gaps: one gap per metric and pair of subgroups.
    """

    column: str
    subgroups: tuple[Subgroup, ...]
    gaps: tuple[Gap, ...]

    def largest(self) -> dict[str, Gap]:
        """Return the largest gap per metric. Pairs with an interval take precedence over pairs without one."""
        largest: dict[str, Gap] = {}
        for gap in self.gaps:
            if gap.difference.value is None:
                continue
            previous = largest.get(gap.metric)
            if previous is None or _size(gap) > _size(previous):
                largest[gap.metric] = gap
        return largest

    def as_dict(self) -> dict[str, Any]:
        """Convert to JSON values for metrics.json."""
        return {
            "column": self.column,
            "subgroups": [subgroup.as_dict() for subgroup in self.subgroups],
            "largest_gaps": [gap.as_dict() for gap in self.largest().values()],
            "gaps": [gap.as_dict() for gap in self.gaps],
        }


def _size(gap: Gap) -> tuple[bool, float]:
    return gap.difference.lo is not None, abs(gap.difference.value or 0.0)
