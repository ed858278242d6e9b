"""The result of predicting one image: its class, or its findings."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prediction:
    """A predicted class.

    Attributes:
        label: the class that the bundle's decision rule chooses.
        probability: calibrated probability of that class, 0..1.
        probabilities: calibrated probability per class; they sum to 1.
        set: classes that the bundle's calibrated limits do not rule out; None where it has no prediction sets.
        uncertain: the set is not exactly the predicted class; None where there are no sets.
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
        """Return the prediction of `label`."""
        return cls(label, round(probabilities[label], 6), probabilities, set, uncertain)


@dataclass(frozen=True)
class FindingsPrediction:
    """Predicted findings, any number of them.

    Attributes:
        findings: whose probability reaches the finding's threshold, in the bundle's order; may be empty.
        probabilities: calibrated probability per finding, each 0..1; they do not sum to 1.
        decisions: whether each finding reaches its threshold.
    """

    findings: tuple[str, ...]
    probabilities: dict[str, float] = field(repr=False)
    decisions: dict[str, bool] = field(repr=False)
