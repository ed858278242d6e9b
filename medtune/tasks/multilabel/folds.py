"""One fold's predictions, its calibration and thresholds from validation alone, and all folds pooled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.evaluation.metric import values
from medtune.evaluation.outputs import SPLITS, Outputs, OutputsRequest
from medtune.serving.tasks.multilabel import decide
from medtune.tasks.multilabel import calibration, decision
from medtune.tasks.multilabel.calibration import FindingCalibration
from medtune.tasks.multilabel.metrics import METRICS
from medtune.tasks.multilabel.statistics import FindingStats, accumulate

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FindingPredictions:
    """Images with what the model says of them, in the order of `rows`.

    Attributes:
        rows: (n,) rows of the manifest.
        patient_ids: (n,) the patient of each image.
        labels: (n, findings) the image shows the finding.
        probabilities: (n, findings), calibrated.
        uncalibrated: (n, findings), before calibration.
        decided: (n, findings) the probability reaches the threshold.
    """

    rows: npt.NDArray[np.int64]
    patient_ids: npt.NDArray
    labels: Bools
    probabilities: Floats
    uncalibrated: Floats
    decided: Bools

    def stats(self, options: EvaluateParams) -> FindingStats:
        """Statistics per patient that every metric follows from."""
        return accumulate(self.labels, self.probabilities, self.decided, self.patient_ids)

    def select(self, positions: npt.NDArray[np.int64]) -> "FindingPredictions":
        """Predictions for the images at `positions` (m,), in their order."""
        return FindingPredictions(*(getattr(self, name)[positions] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class FindingFold:
    """One fold, evaluated.

    Attributes:
        fold: its test fold.
        selected_stage: the training stage whose weights these are, `frozen` or `finetune`.
        names: findings.
        calibration: fitted on its validation images.
        decision: chosen on its validation images.
        val, test: its images.
    """

    fold: int
    selected_stage: str
    names: tuple[str, ...]
    calibration: FindingCalibration
    decision: dict[str, Any]
    val: FindingPredictions
    test: FindingPredictions

    def record(self) -> dict[str, Any]:
        """What export and the report need of the fold, as JSON values."""
        return {
            "scale": self.calibration.scale.tolist(),
            "offset": self.calibration.offset.tolist(),
            "decision": self.decision,
            "calibration": self.calibration.as_dict(self.names),
        }


def evaluate_fold(
    request: OutputsRequest, logits: Outputs, prepared: "PreparedDataset", options: EvaluateParams, seed: int
) -> FindingFold:
    """Calibration and thresholds from the fold's validation images, applied to both its sets."""
    names = prepared.classes
    labels = {split: np.asarray(prepared.targets[request.indices[split]]) > 0 for split in SPLITS}
    patients = prepared.patient_ids[request.indices["val"]]
    fitted = calibration.fit(logits["val"], labels["val"], patients, names, options.calibration)
    calibrated = {split: fitted.probabilities(logits[split]) for split in SPLITS}
    rule = decision.fit_decision(calibrated["val"], labels["val"], patients, names, options.threshold, seed)
    val, test = (
        FindingPredictions(
            request.indices[split],
            prepared.patient_ids[request.indices[split]],
            labels[split],
            calibrated[split],
            calibration.sigmoid(logits[split]),
            decide(calibrated[split], rule, names),
        )
        for split in ("val", "test")
    )
    return FindingFold(request.fold, request.trained.result()["kept"], names, fitted, rule, val, test)


def from_bundle(
    prepared: "PreparedDataset", rows: np.ndarray, output: np.ndarray, document: Mapping[str, Any]
) -> FindingPredictions:
    """Predictions for `rows` by a bundle's own thresholds; `output`: (n, findings) calibrated probabilities."""
    probabilities = output.astype(np.float64)
    decided = decide(output, document["decision"], document["classes"])
    labels = np.asarray(prepared.targets[rows]) > 0
    return FindingPredictions(rows, prepared.patient_ids[rows], labels, probabilities, probabilities, decided)


def pool(parts: Sequence[FindingPredictions]) -> FindingPredictions:
    """All images of several folds, one after the other; an image tested by two folds is there twice."""
    names = FindingPredictions.__dataclass_fields__
    return FindingPredictions(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def best(folds: Sequence[FindingFold], options: EvaluateParams) -> FindingFold:
    """The fold whose model is exported: highest validation AUROC, then lowest validation NLL; never by test."""

    def merit(fold: FindingFold) -> tuple[float, float, int]:
        auroc = values(METRICS, fold.val.stats(options))["auroc"]
        return (-1.0 if auroc is None else auroc, -fold.calibration.nll_after, -fold.fold)

    return max(folds, key=merit)
