"""One fold's predictions, its calibration and thresholds from validation alone, and all folds pooled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.evaluation.out_of_fold import not_tested, pooled_validation
from medtune.evaluation.outputs import SPLITS, Outputs, OutputsRequest
from medtune.serving.tasks.multilabel import decide
from medtune.tasks.multilabel import calibration, decision
from medtune.tasks.multilabel.calibration import FindingCalibration
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
class Rules:
    """What turns the logits of a network into probabilities and decisions, fitted on validation images of all folds.

    Attributes:
        names: findings.
        calibration: scale and offset of each finding.
        decision: its threshold.
    """

    names: tuple[str, ...]
    calibration: FindingCalibration
    decision: dict[str, Any]

    def calibrate(self, logits: npt.NDArray) -> Floats:
        """Calibrated probabilities (n, findings) from logits."""
        return self.calibration.probabilities(logits)

    def predict(
        self, prepared: "PreparedDataset", rows: npt.NDArray[np.int64], logits: npt.NDArray
    ) -> FindingPredictions:
        """Predictions for `rows` from their logits (n, findings)."""
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
        """What export and the report need of the rules, as JSON values."""
        return {
            "scale": self.calibration.scale.tolist(),
            "offset": self.calibration.offset.tolist(),
            "decision": self.decision,
            "calibration": self.calibration.as_dict(self.names),
        }


@dataclass(frozen=True)
class FindingFold:
    """One fold, evaluated.

    Attributes:
        fold: its test fold.
        selected_stage: the training stage whose weights these are, `frozen` or `finetune`.
        names: findings.
        calibration, decision: chosen on the validation images of all folds, without the patients of `test`.
        val, test: its images.
    """

    fold: int
    selected_stage: str
    names: tuple[str, ...]
    calibration: FindingCalibration
    decision: dict[str, Any]
    val: FindingPredictions
    test: FindingPredictions

    @property
    def rules(self) -> Rules:
        """From logits of this fold's network to predictions."""
        return Rules(self.names, self.calibration, self.decision)

    def calibrate(self, logits: npt.NDArray) -> Floats:
        """Calibrated probabilities (n, findings) of this fold's network from its logits."""
        return self.rules.calibrate(logits)

    def record(self) -> dict[str, Any]:
        """What export and the report need of the fold, as JSON values."""
        return self.rules.record()


def evaluate_folds(
    requests: Sequence[OutputsRequest], outputs: Sequence[Outputs], prepared: "PreparedDataset", options: EvaluateParams
) -> list[FindingFold]:
    """Fit rules per fold on the validation images of all folds, without its test patients, and apply them."""
    rows, logits = pooled_validation(requests, outputs)
    folds = []
    for request, own in zip(requests, outputs, strict=True):
        kept = not_tested(prepared, rows, request.indices["test"])
        rules = _fit(prepared, rows[kept], logits[kept], options)
        val, test = (rules.predict(prepared, request.indices[split], own[split]) for split in SPLITS)
        kept_stage = request.trained.result()["kept"]
        folds.append(FindingFold(request.fold, kept_stage, rules.names, rules.calibration, rules.decision, val, test))
    return folds


def fit_rules(
    requests: Sequence[OutputsRequest], outputs: Sequence[Outputs], prepared: "PreparedDataset", options: EvaluateParams
) -> Rules:
    """Fit rules on the validation images of all folds, for a network that was trained on all patients."""
    return _fit(prepared, *pooled_validation(requests, outputs), options)


def _fit(
    prepared: "PreparedDataset", rows: npt.NDArray[np.int64], logits: npt.NDArray, options: EvaluateParams
) -> Rules:
    names, patients = prepared.classes, prepared.patient_ids[rows]
    shown = np.asarray(prepared.targets[rows]) > 0
    fitted = calibration.fit(logits, shown, patients, names, options.calibration)
    rule = decision.fit_decision(fitted.probabilities(logits), shown, patients, names, options.threshold_criterion)
    return Rules(names, fitted, rule)


def decision_of(pooled: FindingPredictions, names: Sequence[str], options: EvaluateParams) -> dict[str, Any]:
    """Choose the thresholds on validation predictions."""
    found = pooled.probabilities, pooled.labels, pooled.patient_ids
    return decision.fit_decision(*found, names, options.threshold_criterion)


def choose_decision(
    folds: Sequence[FindingFold], prepared: "PreparedDataset", options: EvaluateParams
) -> dict[str, Any]:
    """The exported model's thresholds, chosen on the validation images of all folds."""
    return decision_of(pool([fold.val for fold in folds]), prepared.classes, options)


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
