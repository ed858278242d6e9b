"""Prediction for one image: a class, or any number of findings."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prediction:
    """A predicted class.

    Attributes:
        label: the class that the decision rule of the bundle chooses.
        probability: calibrated probability of this class, 0..1.
        probabilities: calibrated probability per class; the sum is 1.
        set: classes of the prediction set (see `medtune.serving.prediction_sets`); None if the bundle has no sets.
        uncertain: True if the set is not exactly the predicted class; None if the bundle has no sets.
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
        findings: findings whose probability reaches their threshold, in the order of the bundle; may be empty.
        probabilities: calibrated probability per finding, 0..1; the sum may differ from 1.
        decisions: per finding, True if its probability reaches the threshold.
    """

    findings: tuple[str, ...]
    probabilities: dict[str, float] = field(repr=False)
    decisions: dict[str, bool] = field(repr=False)
