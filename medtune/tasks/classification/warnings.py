"""What a reader of the figures must know: leaks, too few patients, what could not be chosen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medtune.tasks.classification.folds import Chain, Scored

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

# Resampling fewer patients than this gives intervals that are too narrow.
FEW_GROUPS = 5


def caveats(prepared: "PreparedDataset", chains: Sequence[Chain], pooled: Scored) -> list[str]:
    """One sentence each, the gravest first; empty where there is nothing to warn of."""
    return [*_few(prepared, pooled), *_chances(prepared, chains, pooled)]


def _few(prepared: "PreparedDataset", pooled: Scored) -> list[str]:
    found = []
    unit = "patient" if prepared.info["groups_known"] else "image"
    for k, name in enumerate(prepared.classes):
        groups = len(np.unique(pooled.groups[pooled.labels == k]))
        if not groups:
            found.append(f"No test image is {name}: averages over classes leave it out.")
        elif groups < FEW_GROUPS:
            found.append(
                f"Only {groups} test {unit}{'s' * (groups > 1)} with {name}: "
                "intervals of averages over classes are too narrow."
            )
    return found


def _chances(prepared: "PreparedDataset", chains: Sequence[Chain], pooled: Scored) -> list[str]:
    found = []
    if repeated := len(pooled.rows) - len(np.unique(pooled.rows)):
        found.append(f"{repeated} images are in the test set of two chains and count twice.")
    for chain in chains:
        if reason := chain.decision.get("reason"):
            found.append(f"Fold {chain.fold}: {reason}.")
        if chain.calibration.at_bound:
            found.append(
                f"Fold {chain.fold}: the temperature stands at its bound, {chain.calibration.temperature:.2g}: "
                f"{chain.calibration.images} validation images do not fix it."
            )
        for k in np.setdiff1d(np.arange(len(prepared.classes)), chain.val.labels):
            found.append(f"Fold {chain.fold}: no validation image is {prepared.classes[k]}.")
    return found
