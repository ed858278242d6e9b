"""One fold's predictions, its calibration and thresholds from validation alone, and all folds pooled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.evaluation.out_of_fold import crossfit
from medtune.evaluation.outputs import SPLITS, Outputs, OutputsRequest
from medtune.evaluation.thresholds import DEFAULT
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

    def under(self, rule: Mapping[str, Any], names: Sequence[str]) -> "FindingPredictions":
        """The same probabilities under other thresholds."""
        return replace(self, decided=decide(self.probabilities, rule, names))


@dataclass(frozen=True)
class FindingFold:
    """One fold, evaluated.

    Attributes:
        fold: its test fold.
        selected_stage: the training stage whose weights these are, `frozen` or `finetune`.
        names: findings.
        calibration: fitted on its validation images.
        decision: chosen on the validation images of all folds, without the patients of `test`.
        val, test: its images.
    """

    fold: int
    selected_stage: str
    names: tuple[str, ...]
    calibration: FindingCalibration
    decision: dict[str, Any]
    val: FindingPredictions
    test: FindingPredictions

    def calibrate(self, logits: npt.NDArray) -> Floats:
        """Calibrated probabilities (n, findings) of this fold's network from its logits."""
        return self.calibration.probabilities(logits)

    def record(self) -> dict[str, Any]:
        """What export and the report need of the fold, as JSON values."""
        return {
            "scale": self.calibration.scale.tolist(),
            "offset": self.calibration.offset.tolist(),
            "decision": self.decision,
            "calibration": self.calibration.as_dict(self.names),
        }


def evaluate_folds(
    requests: Sequence[OutputsRequest], outputs: Sequence[Outputs], prepared: "PreparedDataset", options: EvaluateParams
) -> list[FindingFold]:
    """Fit the calibration per fold on its validation images, and thresholds on those of all folds; apply both."""
    names = prepared.classes
    fitted = []
    for request, logits in zip(requests, outputs, strict=True):
        rows = request.indices["val"]
        shown = np.asarray(prepared.targets[rows]) > 0
        fitted.append(calibration.fit(logits["val"], shown, prepared.patient_ids[rows], names, options.calibration))
    val, test = (
        [
            predict(prepared, request.indices[split], logits[split], own)
            for request, logits, own in zip(requests, outputs, fitted, strict=True)
        ]
        for split in SPLITS
    )
    leaky = bool(prepared.info.get("leaked_groups"))
    rules = crossfit(val, test, pool, lambda pooled: decision_of(pooled, names, options), leaky)
    return [
        FindingFold(
            request.fold,
            request.trained.result()["kept"],
            names,
            own,
            rule,
            val[k].under(rule, names),
            test[k].under(rule, names),
        )
        for k, (request, own, rule) in enumerate(zip(requests, fitted, rules, strict=True))
    ]


def decision_of(pooled: FindingPredictions, names: Sequence[str], options: EvaluateParams) -> dict[str, Any]:
    """Choose the thresholds on validation predictions."""
    found = pooled.probabilities, pooled.labels, pooled.patient_ids
    return decision.fit_decision(*found, names, options.threshold_criterion)


def choose_decision(
    folds: Sequence[FindingFold], prepared: "PreparedDataset", options: EvaluateParams
) -> dict[str, Any]:
    """The exported model's thresholds, chosen on the validation images of all folds."""
    return decision_of(pool([fold.val for fold in folds]), prepared.classes, options)


def predict(
    prepared: "PreparedDataset", rows: npt.NDArray[np.int64], logits: npt.NDArray, fitted: FindingCalibration
) -> FindingPredictions:
    """Predictions for `rows` from their logits (n, findings); all thresholds are 0.5."""
    probabilities = fitted.probabilities(logits)
    return FindingPredictions(
        rows,
        prepared.patient_ids[rows],
        np.asarray(prepared.targets[rows]) > 0,
        probabilities,
        calibration.sigmoid(logits),
        probabilities >= DEFAULT,
    )


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
