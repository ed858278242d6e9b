"""Settings of the network that is trained on all labeled images, from what the folds of cross-validation chose.

Nothing is left to validate it, so it trains for a fixed number of epochs and keeps the last weights.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RefitSettings:
    """What the folds chose.

    Attributes:
        lr: learning rate; None for a head that is solved.
        epochs: epochs to train of the schedule's `epochs`; 0 keeps the network of the stage before.
        strength: C of a head that is solved.
    """

    lr: float | None = None
    epochs: int | None = None
    strength: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """What result.json and the cache key say of it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def refit_settings(results: Sequence[Mapping[str, Any]]) -> RefitSettings:
    """Take the median over folds of the chosen C, or learning rate and epochs.

    Rates and strengths are the lower median, which a fold has tried. The epochs are the median of the best epochs of
    all folds at that rate, also of folds that chose another one.

    Args:
        results: result.json of one stage, one per fold.
    """
    strengths = [one["C"] for one in results if one.get("C") is not None]
    if strengths:
        return RefitSettings(strength=statistics.median_low(strengths))
    lr = statistics.median_low([one["lr"] for one in results])
    epochs = [trial["epoch"] for one in results for trial in one["trials"] if trial["lr"] == lr and "epoch" in trial]
    return RefitSettings(lr, round(statistics.median(epochs)))
