"""Choice of the labels of which only the largest component remains, on validation volumes.

Few validation volumes have extra components, so a single volume could decide. The mode `auto` therefore needs evidence
from several patients. The mean Dice must rise, and at least `MIN_IMPROVED` patients must improve. At most one patient
may get worse for each `IMPROVED_PER_WORSE` patients that improve. Without this evidence, nothing is removed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.evaluation.result import ImageArrays
from medtune.serving.volumes.pipeline import PostProcessing
from medtune.tasks.segmentation import Params
from medtune.tasks.segmentation.outputs import SegmentedVolumes
from medtune.tasks.segmentation.patient_means import patient_means

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

Floats = npt.NDArray[np.float64]
MIN_IMPROVED = 2
IMPROVED_PER_WORSE = 3
_ROUNDING = 1e-9


@dataclass(frozen=True)
class ComponentEffects(ImageArrays):
    """Dice of validation volumes with all components of a label, and with only the largest one.

    Attributes:
        rows: (n,) rows of the volumes in the manifest.
        patient_ids: (n,) patient of each volume.
        before: (n, labels) Dice with all components of at least `task.min_volume_mm3`.
        after: (n, labels) Dice with only the largest component.
    """

    rows: npt.NDArray[np.int64]
    patient_ids: npt.NDArray[Any]
    before: Floats
    after: Floats


def component_effects(
    prepared: "PreparedDataset", rows: npt.NDArray[np.int64], outputs: SegmentedVolumes
) -> ComponentEffects:
    """Compute the Dice of validation volumes with and without the smaller components of each label.

    Args:
        prepared: prepared dataset.
        rows: (n,) rows of the volumes.
        outputs: segmented volumes, in the order of `rows`.

    Returns:
        The effects. All values are 0 if `task.largest_component` is not `auto`, because they are not needed.
    """
    labels = {name: index for index, name in enumerate(prepared.classes, 1)}
    size = outputs.options.min_volume_mm3
    before, after = np.zeros((2, len(rows), len(labels)))
    if outputs.options.largest_component == "auto":
        for position, row in enumerate(rows.tolist()):
            truth, spacing = prepared.volumes.truth(row), prepared.volumes.entries[row].spacing
            predicted = outputs[position].labels
            for values, largest in ((before, ()), (after, tuple(labels.values()))):
                rule = PostProcessing(largest, size)
                cases = outputs.cases.metrics(truth, predicted, rule, spacing, labels, distances=False)
                values[position] = [case.dice for case in cases]
    return ComponentEffects(rows, prepared.patient_ids[rows], before, after)


def choose_components(
    effects: ComponentEffects, names: Sequence[str], options: Params
) -> tuple[PostProcessing, dict[str, Any]]:
    """Choose the labels of which only the largest component remains.

    Args:
        effects: effects on the validation volumes. There may be no volumes.
        names: names of the labels.
        options: params of the task.

    Returns:
        The post-processing, and the evidence for JSON files: `mode`, `patients`, and for `auto` the `gain` in Dice and
        the numbers of `improved` and `worse` patients by label.
    """
    evidence: dict[str, Any] = {"mode": options.largest_component, "patients": len(np.unique(effects.patient_ids))}
    if options.largest_component != "auto":
        largest = tuple(range(1, len(names) + 1)) if options.largest_component == "all" else ()
        return PostProcessing(largest, options.min_volume_mm3), evidence
    gains = patient_means(effects.after - effects.before, effects.patient_ids)
    improved, worse = (gains > _ROUNDING).sum(axis=0), (gains < -_ROUNDING).sum(axis=0)
    mean = gains.mean(axis=0) if len(gains) else np.zeros(len(names))
    chosen = (mean > _ROUNDING) & (improved >= MIN_IMPROVED) & (improved >= IMPROVED_PER_WORSE * worse)
    evidence["labels"] = {
        name: {"gain": float(mean[k]), "improved": int(improved[k]), "worse": int(worse[k])}
        for k, name in enumerate(names)
    }
    return PostProcessing(tuple((np.flatnonzero(chosen) + 1).tolist()), options.min_volume_mm3), evidence
