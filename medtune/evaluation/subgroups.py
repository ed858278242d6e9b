"""Metrics per subgroup, and how far subgroups are apart.

A subgroup's own interval is the one that an evaluation of its images alone would have. The differences between
subgroups come from one joint jackknife over all patients: a patient with images in two subgroups is left out of both,
so what the subgroups share cancels out.

Differences are given for every pair, not for each subgroup against the rest: the rest is a mixture, in which images
without a recorded value would count. The largest of many differences is large by chance. Its `simultaneous` interval
covers all pairs at once (Bonferroni).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from medtune.data.class_selection import list_names
from medtune.evaluation.intervals import FEW_PATIENTS, MIN_PATIENTS, Interval, intervals
from medtune.evaluation.metric import Metric, PatientStats
from medtune.evaluation.subgroup_gaps import gaps_of, leave_out_jointly
from medtune.evaluation.subgroup_metrics import Subgroup, Subgroups

NO_IMAGES = "no test image"
_SHOWN = 5


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
            undefined = {metric.name: Interval(None, None, None, NO_IMAGES) for metric in defined}
            subgroups.append(Subgroup(name, 0, 0, {}, undefined, (NO_IMAGES,)))
            continue
        own = intervals(defined, stats[name], options.confidence)
        notes = _notes(support[name], lacking[name], stats[name].n_patients)
        subgroups.append(Subgroup(name, len(found[name]), stats[name].n_patients, support[name], own, notes))
        advance(0.5 / len(present))
    everyone = np.unique(images.patient_ids)
    members = {name: np.searchsorted(everyone, np.unique(part.patient_ids)) for name, part in parts.items()}
    joint = leave_out_jointly(images.stats(options), members, stats, defined, advance)
    gaps = []
    for metric in defined:
        gaps += gaps_of(metric, joint, lacking if metric.name in class_averages else {}, options.confidence)
    return Subgroups(column, tuple(subgroups), tuple(gaps))


def _support(stats: PatientStats, classes: Sequence[str]) -> dict[str, int]:
    count = getattr(stats, "patients_per_class", None)
    return dict(zip(classes, count().tolist(), strict=True)) if classes and count is not None else {}


def _shown(support: Mapping[str, int]) -> set[str]:
    return {label for label, count in support.items() if count}


def _notes(support: Mapping[str, int], lacking: Sequence[str], n_patients: int) -> tuple[str, ...]:
    notes = []
    if lacking:
        names = list_names(lacking, _SHOWN)
        notes.append(f"no image is {names}: averages over classes leave {'it' if len(lacking) == 1 else 'them'} out")
    if n_patients >= MIN_PATIENTS:
        few = [f"{count} with {label}" for label, count in support.items() if 0 < count < FEW_PATIENTS]
        if few:
            notes.append(f"few patients ({list_names(few, _SHOWN)}): intervals are wide and approximate")
    return tuple(notes)
