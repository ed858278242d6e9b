"""Metrics per subgroup, and differences between subgroups.

The interval of a subgroup is the one that an evaluation of only its images would have. The differences between
subgroups come from one joint jackknife over all patients. A patient with images in two subgroups is left out of both,
so shared variation cancels.

Differences are computed for all pairs, not for each subgroup against the rest. The rest would be a mixture that
includes images without a recorded value. The largest of many differences may be large by chance. Each difference
therefore also has a `simultaneous` interval. All simultaneous intervals of a metric hold at once (Bonferroni).
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
_MAX_NAMES = 5


class Images(Protocol):
    """Predictions for images from which a subset can be selected."""

    @property
    def patient_ids(self) -> npt.NDArray[Any]:
        """(n,) patient ids."""

    def select(self, positions: npt.NDArray[np.int64]) -> "Images":
        """Return the predictions for the images at `positions`, in this order."""

    def stats(self, options: Any) -> PatientStats:
        """Compute the statistics per patient; patients are sorted by id."""


def compare(
    column: str,
    values: npt.NDArray[Any],
    order: Sequence[str],
    images: Images,
    metrics: Sequence[Metric],
    options: Any,
    classes: Sequence[str] = (),
    class_averages: Collection[str] = (),
    advance: Callable[[float], object] = lambda done: None,
) -> Subgroups:
    """Compute all metrics per subgroup and their differences between all pairs of subgroups.

    Args:
        column: name of the column.
        values: (n,) subgroup of each image.
        order: all subgroups in the order of tables, including those without images.
        images: predictions for the n images.
        metrics: metrics of the task.
        options: section `evaluate` of the params.
        classes: class names; empty in a task without classes.
        class_averages: names of the metrics that average over the classes present in the images.
        advance: called with the fraction of the work that was done. The fractions sum to 1.

    Returns:
        Subgroups and gaps of the column.
    """
    positions = {name: np.flatnonzero(values == name) for name in order}
    present = [name for name in order if len(positions[name])]
    parts = {name: images.select(positions[name]) for name in present}
    stats = {name: part.stats(options) for name, part in parts.items()}
    support = {name: _support(stats[name], classes) for name in present}
    all_classes = {label for counts in support.values() for label, count in counts.items() if count}
    # Averages over different classes are different metrics.
    lacking = {
        name: [label for label in classes if label in all_classes - _with_patients(support[name])] for name in present
    }
    defined = [metric for metric in metrics if all(map(metric.defined, stats.values()))]
    subgroups = []
    for name in order:
        if name not in stats:
            undefined = {metric.name: Interval(None, None, None, NO_IMAGES) for metric in defined}
            subgroups.append(Subgroup(name, 0, 0, {}, undefined, (NO_IMAGES,)))
            continue
        by_name = intervals(defined, stats[name], options.confidence)
        notes = _notes(support[name], lacking[name], stats[name].n_patients)
        subgroups.append(Subgroup(name, len(positions[name]), stats[name].n_patients, support[name], by_name, notes))
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


def _with_patients(support: Mapping[str, int]) -> set[str]:
    return {label for label, count in support.items() if count}


def _notes(support: Mapping[str, int], lacking: Sequence[str], n_patients: int) -> tuple[str, ...]:
    """Return the limitations of the metrics of a subgroup, one sentence each."""
    notes = []
    if lacking:
        names = list_names(lacking, _MAX_NAMES)
        notes.append(
            f"no image has the class {names}, so averages over classes exclude {'it' if len(lacking) == 1 else 'them'}"
        )
    if n_patients >= MIN_PATIENTS:
        few = [f"{count} with {label}" for label, count in support.items() if 0 < count < FEW_PATIENTS]
        if few:
            notes.append(f"few patients ({list_names(few, _MAX_NAMES)}): intervals are wide and approximate")
    return tuple(notes)
