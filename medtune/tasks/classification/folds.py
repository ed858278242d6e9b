"""Predictions per fold and pooled. Temperature and decision rule are fitted on validation images only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.evaluation.out_of_fold import FittedFold, cross_fit, pooled_validation
from medtune.evaluation.outputs import Outputs, OutputsRequest
from medtune.evaluation.result import ImageArrays
from medtune.serving.tasks.classification import decide
from medtune.tasks.classification import calibration, decision
from medtune.tasks.classification.calibration import Calibration
from medtune.tasks.classification.statistics import ClassificationStats, accumulate

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassifierPredictions(ImageArrays):
    """Labels and predictions of images, in the order of `rows`.

    Attributes:
        rows: (n,) row indices in the manifest.
        labels: (n,) class indices.
        patient_ids: (n,) patient of each image.
        probabilities: (n, classes) calibrated probabilities.
        uncalibrated: (n, classes) probabilities before calibration.
        predictions: (n,) class indices by the decision rule.
        ordinal: True if the classes are ordered, as grades are.
    """

    rows: Ints
    labels: Ints
    patient_ids: npt.NDArray[Any]
    probabilities: Floats
    uncalibrated: Floats
    predictions: Ints
    ordinal: bool = False

    def stats(self, options: EvaluateParams) -> ClassificationStats:
        """Compute the statistics per patient from which metrics are computed."""
        return accumulate(self.labels, self.probabilities, self.predictions, self.patient_ids, self.ordinal)

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """(n,) True where the prediction equals the label."""
        return np.equal(self.predictions, self.labels)


@dataclass(frozen=True)
class Rules:
    """Calibration and decision rule of a network, fitted on the validation images of all folds.

    Attributes:
        calibration: fitted temperature.
        decision: decision rule.
        aggregation: method that combines the tiles of a slide; None for images that are not tiles.
    """

    calibration: Calibration
    decision: dict[str, Any]
    aggregation: str | None = None

    def calibrate(self, logits: npt.NDArray[Any]) -> Floats:
        """Compute calibrated probabilities (n, classes) from logits (n, classes)."""
        return calibration.softmax(logits, self.calibration.temperature)

    def predict(self, prepared: "PreparedDataset", rows: Ints, logits: npt.NDArray[Any]) -> ClassifierPredictions:
        """Compute the predictions for `rows` from their logits (n, classes)."""
        probabilities = self.calibrate(logits)
        return ClassifierPredictions(
            rows,
            prepared.labels[rows],
            prepared.patient_ids[rows],
            probabilities,
            calibration.softmax(logits),
            decide(probabilities, self.decision, prepared.classes),
            is_ordinal(prepared.info),
        )

    def record(self) -> dict[str, Any]:
        """Return the fitted values for result.json, as JSON values."""
        return {
            "temperature": self.calibration.temperature,
            "decision": self.decision,
            "calibration": self.calibration.as_dict(),
            **({"aggregation": self.aggregation} if self.aggregation else {}),
        }


ClassifierFold = FittedFold[Rules, ClassifierPredictions]


def evaluate_folds(
    requests: Sequence[OutputsRequest], outputs: Sequence[Outputs], prepared: "PreparedDataset", options: EvaluateParams
) -> list[ClassifierFold]:
    """Fit the rules of each fold and predict the fold's validation and test images (see `cross_fit`)."""
    return cross_fit(_fit, requests, outputs, prepared, options)


def fit_rules(
    requests: Sequence[OutputsRequest], outputs: Sequence[Outputs], prepared: "PreparedDataset", options: EvaluateParams
) -> Rules:
    """Fit rules on the validation images of all folds, for a network that was trained on all patients."""
    return _fit(prepared, *pooled_validation(requests, outputs), options)


def _fit(prepared: "PreparedDataset", rows: Ints, logits: npt.NDArray[Any], options: EvaluateParams) -> Rules:
    labels, patients = prepared.labels[rows], prepared.patient_ids[rows]
    fitted = calibration.fit_temperature(logits, labels, patients, options.calibration)
    probabilities = calibration.softmax(logits, fitted.temperature)
    rule = decision.fit_decision(probabilities, labels, patients, prepared.classes, options.threshold_criterion)
    return Rules(fitted, rule, prepared.info.get("aggregation"))


def decision_of(pooled: ClassifierPredictions, classes: tuple[str, ...], options: EvaluateParams) -> dict[str, Any]:
    """Choose the decision rule on validation predictions."""
    return decision.fit_decision(
        pooled.probabilities, pooled.labels, pooled.patient_ids, classes, options.threshold_criterion
    )


pool = ClassifierPredictions.pool


def is_ordinal(info: Mapping[str, Any]) -> bool:
    """Return True if the classes in dataset.json are ordered."""
    return info.get("label_type") == "ordinal"
