"""Metrics per subgroup, and how far subgroups are apart.

A subgroup's own interval is the one that an evaluation of its images alone would have. The differences between
subgroups come from one joint resampling of all patients: a patient with images in two subgroups is drawn for both, so
what the subgroups share cancels out.

Differences are given for every pair, not for each subgroup against the rest: the rest is a mixture, in which images
without a recorded value would count. The largest of many differences is large by chance. Its `simultaneous` interval
covers all pairs at once (maximum of the studentized differences over the same resamples).
"""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from medtune.evaluation.bootstrap import Interval, interval, intervals, resamples
from medtune.evaluation.metric import Floats, Metric, PatientStats, compute

# Resampling fewer patients than this says nothing about other patients.
MIN_PATIENTS = 5
NO_IMAGES = "no test image"


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


class Images(Protocol):
    """Predictions for some images, of which a part can be selected."""

    @property
    def patient_ids(self) -> npt.NDArray:
        """(n,) patient ids."""

    def select(self, positions: npt.NDArray[np.int64]) -> "Images":
        """Predictions for the images at `positions`, in their order."""

    def stats(self, options: Any) -> PatientStats:
        """Statistics per patient, patients in the order of their sorted ids."""


def compare(
    column: str,
    values: npt.NDArray,
    order: Sequence[str],
    images: Images,
    metrics: Sequence[Metric],
    options: Any,
    seed: int,
    classes: Sequence[str] = (),
    class_averages: Collection[str] = (),
    advance: Callable[[float], object] = lambda done: None,
) -> Subgroups:
    """Compute every metric per subgroup and its difference between every two subgroups.

    Args:
        column: name of the column.
        values: (n,) subgroup of each image.
        order: all subgroups, in the order of tables; one without images is reported too.
        images: predictions for the n images.
        metrics: of the task.
        options: section evaluate.
        seed: of the resampling.
        classes: class names; empty in a task without classes.
        class_averages: names of the metrics that average over the classes that the images show.
        advance: called with the share of the work that was done, in total 1.
    """
    found = {name: np.flatnonzero(values == name) for name in order}
    present = [name for name in order if len(found[name])]
    parts = {name: images.select(found[name]) for name in present}
    stats = {name: part.stats(options) for name, part in parts.items()}
    support = {name: _support(stats[name], classes) for name in present}
    all_classes = {label for counts in support.values() for label, count in counts.items() if count}
    # Averages over different classes are different metrics.
    lacking = {name: [label for label in classes if label in all_classes - _shown(support[name])] for name in present}
    defined = [metric for metric in metrics if all(map(metric.defined, stats.values()))]
    subgroups = []
    for name in order:
        if name not in stats:
            undefined = {metric.name: Interval(None, None, None, 0, NO_IMAGES) for metric in defined}
            subgroups.append(Subgroup(name, 0, 0, {}, undefined, (NO_IMAGES,)))
            continue
        own = _own_metrics(defined, stats[name], options, seed)
        notes = _notes(support[name], lacking[name], stats[name].n_patients)
        subgroups.append(Subgroup(name, len(found[name]), stats[name].n_patients, support[name], own, notes))
        advance(0.5 / len(present))
    whole = {name: compute(defined, part) for name, part in stats.items()}
    drawn = _joint(images.patient_ids, parts, stats, defined, options.bootstrap, seed, advance)
    gaps = []
    for name in (metric.name for metric in defined):
        pairs = [
            _pair(name, a, b, whole, drawn, stats, options.confidence, lacking if name in class_averages else {})
            for a, b in itertools.combinations(present, 2)
        ]
        gaps += _with_simultaneous(pairs, drawn, name, options.confidence)
    return Subgroups(column, tuple(subgroups), tuple(gaps))


def _own_metrics(metrics: Sequence[Metric], stats: PatientStats, options: Any, seed: int) -> dict[str, Interval]:
    own = intervals(metrics, stats, options.bootstrap, options.confidence, seed)
    if stats.n_patients >= MIN_PATIENTS or stats.n_patients == 1:
        return own
    return {
        name: one if one.value is None else Interval(one.value, None, None, 0, _too_few(stats.n_patients))
        for name, one in own.items()
    }


def _too_few(n_patients: int) -> str:
    return f"{n_patients} patients: an interval needs {MIN_PATIENTS}"


def _support(stats: PatientStats, classes: Sequence[str]) -> dict[str, int]:
    count = getattr(stats, "patients_per_class", None)
    return dict(zip(classes, count().tolist(), strict=True)) if classes and count is not None else {}


def _shown(support: Mapping[str, int]) -> set[str]:
    return {label for label, count in support.items() if count}


def _notes(support: Mapping[str, int], lacking: Sequence[str], n_patients: int) -> tuple[str, ...]:
    notes = []
    if lacking:
        names = ", ".join(lacking)
        notes.append(f"no image is {names}: averages over classes leave {'it' if len(lacking) == 1 else 'them'} out")
    if n_patients >= MIN_PATIENTS:
        few = [f"{count} with {label}" for label, count in support.items() if 0 < count < MIN_PATIENTS]
        if few:
            notes.append(f"few patients ({', '.join(few)}): intervals are too narrow")
    return tuple(notes)


def _joint(
    patient_ids: npt.NDArray,
    parts: Mapping[str, Images],
    stats: Mapping[str, PatientStats],
    metrics: Sequence[Metric],
    replicates: int,
    seed: int,
    advance: Callable[[float], object],
) -> dict[str, dict[str, Floats]]:
    """Metrics (replicates,) of each subgroup by subgroup and name, under the same resamples of all patients.

    Raises:
        ValueError: the statistics of a subgroup do not have one entry per patient.
    """
    everyone = np.unique(patient_ids)
    members = {name: np.searchsorted(everyone, np.unique(part.patient_ids)) for name, part in parts.items()}
    for name, index in members.items():
        if stats[name].n_patients != len(index):
            raise ValueError(f"{name}: statistics of {stats[name].n_patients} patients, expected {len(index)}")
    drawn: dict[str, dict[str, list[Floats]]] = {name: {metric.name: [] for metric in metrics} for name in parts}
    if len(parts) > 1:
        width = max(one.width for one in stats.values())
        for weights in resamples(len(everyone), replicates, seed, width):
            for name, index in members.items():
                for metric, value in compute(metrics, stats[name], weights[:, index]).items():
                    drawn[name][metric].append(value)
            advance(0.5 * len(weights) / replicates)
    return {
        name: {metric: np.concatenate(chunks) if chunks else np.empty(0) for metric, chunks in by_metric.items()}
        for name, by_metric in drawn.items()
    }


def _pair(
    metric: str,
    first: str,
    second: str,
    whole: Mapping[str, Mapping[str, Floats]],
    drawn: Mapping[str, Mapping[str, Floats]],
    stats: Mapping[str, PatientStats],
    confidence: float,
    lacking: Mapping[str, Sequence[str]],
) -> Gap:
    difference = float(whole[first][metric][0] - whole[second][metric][0])
    if lacking and lacking[first] != lacking[second]:
        return Gap(metric, first, second, Interval(None, None, None, 0, "averages over different classes"))
    fewest = min(stats[first].n_patients, stats[second].n_patients)
    if fewest < MIN_PATIENTS and not np.isnan(difference):
        reason = _too_few(fewest).replace("1 patients", "1 patient")
        return Gap(metric, first, second, Interval(difference, None, None, 0, reason))
    return Gap(metric, first, second, interval(difference, drawn[first][metric] - drawn[second][metric], confidence))


def _with_simultaneous(
    gaps: Sequence[Gap], drawn: Mapping[str, Mapping[str, Floats]], metric: str, confidence: float
) -> list[Gap]:
    """Add the interval that holds for all pairs at once, where there are several."""
    chosen = [gap for gap in gaps if gap.difference.lo is not None]
    if len(chosen) < 2:
        return list(gaps)
    centers = np.array([gap.difference.value for gap in chosen], np.float64)
    draws = np.stack([drawn[gap.first][metric] - drawn[gap.second][metric] for gap in chosen])
    spread = np.nanstd(draws, axis=1, ddof=1)
    moving = spread > 0  # pairs that never differ need no width
    usable = ~np.isnan(draws[moving]).all(axis=0)
    width = 0.0
    if usable.any():
        studentized = np.abs(draws[moving][:, usable] - centers[moving, None]) / spread[moving, None]
        width = float(np.quantile(np.nanmax(studentized, axis=0), confidence))
    ends = {
        (gap.first, gap.second): (center - width * deviation, center + width * deviation)
        for gap, center, deviation in zip(chosen, centers.tolist(), spread.tolist(), strict=True)
    }
    return [
        Gap(gap.metric, gap.first, gap.second, gap.difference, len(chosen), ends.get((gap.first, gap.second)))
        for gap in gaps
    ]


def _size(gap: Gap) -> tuple[bool, float]:
    return gap.difference.lo is not None, abs(gap.difference.value or 0.0)
