"""The result of predicting one image."""

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
