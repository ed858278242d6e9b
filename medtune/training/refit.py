"""Settings of the network that is trained on all labeled images, derived from the folds of cross-validation.

No images remain for the validation of this network. It trains for a fixed number of epochs, and the last weights are
used.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RefitSettings:
    """Settings of the network of all labeled images.

    Attributes:
        lr: learning rate; None for a solved head.
        epochs: epoch after which training stops; None for a solved head. The learning-rate schedule still covers all
            `epochs` of the params. 0 selects the network of the previous stage.
        strength: C of a solved head; None for other heads.
    """

    lr: float | None = None
    epochs: int | None = None
    strength: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the settings that are not None, for result.json and the cache key."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def refit_settings(results: Sequence[Mapping[str, Any]]) -> RefitSettings:
    """Compute the median over folds of the selected C, or of the selected learning rate and epochs.

    The lower median of the learning rate or C is used, so that at least one fold has selected the value. The number
    of epochs is the median of the best epochs of all folds at that rate, including folds that selected another rate.

    Args:
        results: result.json of one stage per fold.

    Returns:
        The settings.
    """
    strengths = [result["C"] for result in results if result.get("C") is not None]
    if strengths:
        return RefitSettings(strength=statistics.median_low(strengths))
    lr = statistics.median_low([result["lr"] for result in results])
    trials = [trial for result in results for trial in result["trials"]]
    epochs = [trial["epoch"] for trial in trials if trial["lr"] == lr and "epoch" in trial]
    return RefitSettings(lr, round(statistics.median(epochs)))
