"""Warnings of a segmentation evaluation: absent labels, few patients, missed and spurious labels."""

from typing import TYPE_CHECKING

import numpy as np

from medtune.data.class_selection import list_names
from medtune.data.wording import wording
from medtune.evaluation.intervals import FEW_PATIENTS
from medtune.tasks.segmentation.statistics import SegmentationStats
from medtune.tasks.segmentation.volume_predictions import VolumePredictions

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


def evaluation_warnings(
    prepared: "PreparedDataset", pooled: VolumePredictions, stats: SegmentationStats, n_flagged: int
) -> list[str]:
    """Return the warnings, one sentence each, most severe first.

    Args:
        prepared: prepared dataset.
        pooled: predictions of the test volumes.
        stats: statistics of these predictions.
        n_flagged: number of volumes that a person should check.

    Returns:
        The warnings.
    """
    warnings, words = [], wording(prepared.info)
    names = np.array(stats.labels, object)
    if len(absent := names[~stats.scored]):
        warnings.append(
            f"No test {words.item} has the label {list_names(list(absent))}: averages over labels exclude it."
        )
    for outcome, text in (("missed", "is not predicted in"), ("spurious", "is predicted without being present in")):
        counts = stats.outcomes[outcome].sum(axis=0).astype(int)
        errors = [
            f"{name} {text} {count} of {len(pooled.rows)}" for name, count in zip(names, counts, strict=True) if count
        ]
        if errors:
            warnings.append(f"Test {words.items}: {list_names(errors)}. Their Dice is 0.")
    counts = stats.patients_per_class()
    few = [f"{name} {count}" for name, count in zip(names, counts.tolist(), strict=True) if 0 < count < FEW_PATIENTS]
    unit = "patients" if prepared.info["patients_known"] else words.items
    if few:
        warnings.append(
            f"Fewer than {FEW_PATIENTS} test {unit} have {list_names(few)}: "
            "confidence intervals of these labels are wide and approximate."
        )
    if n_flagged:
        warnings.append(
            f"{n_flagged} of {len(pooled.rows)} test {words.items} have a higher uncertainty than 90 % of the "
            f"validation {words.items}. The report lists them."
        )
    if repeated := len(pooled.rows) - len(np.unique(pooled.rows)):
        warnings.append(f"{repeated} {words.items} are in the test set of two folds and count twice.")
    return warnings
