"""Subgroups and the differences between them: what `medtune.evaluation.subgroups` computes."""

from dataclasses import dataclass
from typing import Any

from medtune.evaluation.intervals import Interval


@dataclass(frozen=True)
class Subgroup:
    """The images with one value of a column.

    Attributes:
        value: of the column, a range of numbers, or `medtune.evaluation.subgroup_columns.NOT_RECORDED`.
        n_images: images.
        n_patients: patients with at least one of these images.
        support: patients with images of each class, by class; empty in a task without classes.
        metrics: by name; a metric without a value or an interval has a reason.
        notes: what limits these metrics, one sentence each.
    """

    value: str
    n_images: int
    n_patients: int
    support: dict[str, int]
    metrics: dict[str, Interval]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON values for metrics.json."""
        return {
            "value": self.value,
            "n_images": self.n_images,
            "n_groups": self.n_patients,
            "patients_by_class": self.support,
            "metrics": {name: metric.as_dict() for name, metric in self.metrics.items()},
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Gap:
    """A metric's difference between two subgroups.

    Attributes:
        metric: name of the metric.
        first, second: the subgroups' values.
        difference: metric of `first` less that of `second`, with its paired interval over patients.
        n_pairs: pairs of subgroups that have such an interval for this metric.
        simultaneous: interval that holds for all of these pairs at once; None where there is one pair, or none.
    """

    metric: str
    first: str
    second: str
    difference: Interval
    n_pairs: int = 1
    simultaneous: tuple[float, float] | None = None

    @property
    def ends(self) -> tuple[float, float] | None:
        """The interval to print for the largest of several differences; None where there is none."""
        if self.simultaneous is not None or self.difference.lo is None or self.difference.hi is None:
            return self.simultaneous
        return self.difference.lo, self.difference.hi

    def as_dict(self) -> dict[str, Any]:
        """JSON values for metrics.json."""
        entry = {"metric": self.metric, "first": self.first, "second": self.second, **self.difference.as_dict()}
        if self.simultaneous is None:
            return entry
        return {**entry, "n_pairs": self.n_pairs, "simultaneous": list(self.simultaneous)}


@dataclass(frozen=True)
class Subgroups:
    """The subgroups of one column.

    Attributes:
        column: name of the column.
        subgroups: one per value, in the order of tables.
        gaps: one per metric and pair of subgroups.
    """

    column: str
    subgroups: tuple[Subgroup, ...]
    gaps: tuple[Gap, ...]

    def largest(self) -> dict[str, Gap]:
        """Largest difference per metric, among pairs with an interval if there are any."""
        found: dict[str, Gap] = {}
        for gap in self.gaps:
            if gap.difference.value is None:
                continue
            before = found.get(gap.metric)
            if before is None or _size(gap) > _size(before):
                found[gap.metric] = gap
        return found

    def as_dict(self) -> dict[str, Any]:
        """JSON values for metrics.json."""
        return {
            "column": self.column,
            "subgroups": [subgroup.as_dict() for subgroup in self.subgroups],
            "largest_gaps": [gap.as_dict() for gap in self.largest().values()],
            "gaps": [gap.as_dict() for gap in self.gaps],
        }


def _size(gap: Gap) -> tuple[bool, float]:
    return gap.difference.lo is not None, abs(gap.difference.value or 0.0)
