"""Predictions of one image: a class or findings."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prediction:
    """A predicted class.

    Attributes:
        label: the class that the bundle's decision rule chooses.
        probability: calibrated probability of that class, 0..1.
        probabilities: calibrated probability per class; they sum to 1.
        set: classes of the prediction set; None if the bundle has no prediction sets.
        uncertain: True if the set differs from the predicted class; None if the bundle has no prediction sets.
    """

    label: str
    probability: float
    probabilities: dict[str, float] = field(repr=False)
    set: tuple[str, ...] | None = field(default=None, repr=False)
    uncertain: bool | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        label: str,
        probabilities: dict[str, float],
        set: tuple[str, ...] | None = None,
        uncertain: bool | None = None,
    ) -> "Prediction":
        """Create a prediction of `label` with its probability rounded to 6 digits."""
        return cls(label, round(probabilities[label], 6), probabilities, set, uncertain)


@dataclass(frozen=True)
class FindingsPrediction:
    """Any number of predicted findings.

    Attributes:
        findings: findings whose probability reaches their threshold, in the bundle's order; may be empty.
        probabilities: calibrated probability per finding, 0..1; they do not sum to 1.
        decisions: per finding, True if its probability reaches the threshold.
    """

    findings: tuple[str, ...]
    probabilities: dict[str, float] = field(repr=False)
    decisions: dict[str, bool] = field(repr=False)
