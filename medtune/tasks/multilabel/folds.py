"""Predictions per fold and pooled. Calibration and thresholds are fitted on validation images only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.evaluation.out_of_fold import FittedFold, cross_fit, pooled_validation
from medtune.evaluation.outputs import Outputs, OutputsRequest
from medtune.evaluation.result import ImageArrays
from medtune.serving.tasks.multilabel import decide
from medtune.tasks.multilabel import calibration, decision
from medtune.tasks.multilabel.calibration import FindingCalibration
from medtune.tasks.multilabel.statistics import FindingStats, accumulate

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FindingPredictions(ImageArrays):
    """Labels and predictions of images, in the order of `rows`.

    Attributes:
        rows: (n,) row indices in the manifest.
        patient_ids: (n,) patient of each image.
        labels: (n, findings) True if the image shows the finding.
        probabilities: (n, findings) calibrated probabilities.
        uncalibrated: (n, findings) probabilities before calibration.
        decided: (n, findings) True if the probability reaches the threshold.
    """

    rows: npt.NDArray[np.int64]
    patient_ids: npt.NDArray[Any]
    labels: Bools
    probabilities: Floats
    uncalibrated: Floats
    decided: Bools

    def stats(self, options: EvaluateParams) -> FindingStats:
        """Compute the statistics per patient from which metrics are computed."""
        return accumulate(self.labels, self.probabilities, self.decided, self.patient_ids)


@dataclass(frozen=True)
class Rules:
    """Calibration and decision rule of a network, fitted on the validation images of all folds.

    Attributes:
        names: names of the findings.
        calibration: scale and offset per finding.
        decision: decision rule with a threshold per finding.
    """

    names: tuple[str, ...]
    calibration: FindingCalibration
    decision: dict[str, Any]

    def calibrate(self, logits: npt.NDArray[Any]) -> Floats:
        """Compute calibrated probabilities (n, findings) from logits (n, findings)."""
        return self.calibration.probabilities(logits)

    def predict(
        self, prepared: "PreparedDataset", rows: npt.NDArray[np.int64], logits: npt.NDArray[Any]
    ) -> FindingPredictions:
        """Compute the predictions for `rows` from their logits (n, findings)."""
        probabilities = self.calibrate(logits)
        return FindingPredictions(
            rows,
            prepared.patient_ids[rows],
            np.asarray(prepared.targets[rows]) > 0,
            probabilities,
            calibration.sigmoid(logits),
            decide(probabilities, self.decision, self.names),
        )

    def record(self) -> dict[str, Any]:
        """Return the fitted values for result.json, as JSON values."""
        return {
            "scale": self.calibration.scale.tolist(),
            "offset": self.calibration.offset.tolist(),
            "decision": self.decision,
            "calibration": self.calibration.as_dict(self.names),
        }


FindingFold = FittedFold[Rules, FindingPredictions]


def evaluate_folds(
    requests: Sequence[OutputsRequest], outputs: Sequence[Outputs], prepared: "PreparedDataset", options: EvaluateParams
) -> list[FindingFold]:
    """Fit the rules of each fold and predict the fold's validation and test images (see `cross_fit`)."""
    return cross_fit(_fit, requests, outputs, prepared, options)


def fit_rules(
    requests: Sequence[OutputsRequest], outputs: Sequence[Outputs], prepared: "PreparedDataset", options: EvaluateParams
) -> Rules:
    """Fit rules on the validation images of all folds, for a network that was trained on all patients."""
    return _fit(prepared, *pooled_validation(requests, outputs), options)


def _fit(
    prepared: "PreparedDataset", rows: npt.NDArray[np.int64], logits: npt.NDArray[Any], options: EvaluateParams
) -> Rules:
    names, patients = prepared.classes, prepared.patient_ids[rows]
    labels = np.asarray(prepared.targets[rows]) > 0
    fitted = calibration.fit(logits, labels, patients, names, options.calibration)
    rule = decision.fit_decision(fitted.probabilities(logits), labels, patients, names, options.threshold_criterion)
    return Rules(names, fitted, rule)


def decision_of(pooled: FindingPredictions, names: Sequence[str], options: EvaluateParams) -> dict[str, Any]:
    """Choose the thresholds on validation predictions."""
    return decision.fit_decision(
        pooled.probabilities, pooled.labels, pooled.patient_ids, names, options.threshold_criterion
    )


def choose_decision(
    folds: Sequence[FindingFold], prepared: "PreparedDataset", options: EvaluateParams
) -> dict[str, Any]:
    """Choose the thresholds of the exported model on the validation images of all folds."""
    return decision_of(pool([fold.val for fold in folds]), prepared.classes, options)


def from_bundle(
    prepared: "PreparedDataset", rows: np.ndarray, output: np.ndarray, document: Mapping[str, Any]
) -> FindingPredictions:
    """Return the predictions of a bundle with the bundle's thresholds.

    Args:
        prepared: prepared dataset.
        rows: (n,) row indices of the images.
        output: (n, findings) calibrated probabilities.
        document: content of bundle.json.

    Returns:
        Predictions of the images.
    """
    probabilities = output.astype(np.float64)
    decided = decide(output, document["decision"], document["classes"])
    labels = np.asarray(prepared.targets[rows]) > 0
    return FindingPredictions(rows, prepared.patient_ids[rows], labels, probabilities, probabilities, decided)


pool = FindingPredictions.pool
