"""The result of predicting one image: its class, or its findings."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prediction:
    """A predicted class.

    Attributes:
        label: the class that the bundle's decision rule chooses.
        probability: calibrated probability of that class, 0..1.
        probabilities: calibrated probability per class; they sum to 1.
    """

    label: str
    probability: float
    probabilities: dict[str, float] = field(repr=False)

    @classmethod
    def of(cls, label: str, probabilities: dict[str, float]) -> "Prediction":
        """Return the prediction of `label`."""
        return cls(label, round(probabilities[label], 6), probabilities)


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
