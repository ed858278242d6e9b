"""Predictions of each fold, with a temperature and a decision from validation images alone, and of all folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.evaluation.out_of_fold import not_tested, pooled_validation
from medtune.evaluation.outputs import SPLITS, Outputs, OutputsRequest
from medtune.serving.tasks.classification import decide
from medtune.tasks.classification import calibration, decision
from medtune.tasks.classification.calibration import Calibration
from medtune.tasks.classification.metrics import compute_all
from medtune.tasks.classification.statistics import ClassificationStats, accumulate

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassifierPredictions:
    """Images with what the model says of them, in the order of `rows`.

    Attributes:
        rows: (n,) rows of the manifest.
        labels: (n,) class indices.
        patient_ids: (n,) the patient of each image.
        probabilities: (n, classes), calibrated.
        uncalibrated: (n, classes), before calibration.
        predictions: (n,) class indices, by the decision rule.
        ordinal: the classes are ordered, as grades are.
    """

    rows: Ints
    labels: Ints
    patient_ids: npt.NDArray
    probabilities: Floats
    uncalibrated: Floats
    predictions: Ints
    ordinal: bool = False

    def compute_metrics(self) -> dict[str, float | None]:
        """Every metric; None where undefined."""
        found = (self.labels, self.probabilities, self.predictions, self.patient_ids)
        return compute_all(*found, self.ordinal)

    def stats(self, options: EvaluateParams) -> ClassificationStats:
        """Statistics per patient that every metric follows from."""
        found = (self.labels, self.probabilities, self.predictions, self.patient_ids)
        return accumulate(*found, self.ordinal)

    def select(self, positions: Ints) -> "ClassifierPredictions":
        """Predictions for the images at `positions` (m,), in their order."""
        fields = (name for name in self.__dataclass_fields__ if name != "ordinal")
        return replace(self, **{name: getattr(self, name)[positions] for name in fields})

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """(n,) the prediction is the label."""
        return self.predictions == self.labels


@dataclass(frozen=True)
class Rules:
    """What turns the logits of a network into probabilities and decisions, fitted on validation images of all folds.

    Attributes:
        calibration: the temperature.
        decision: the decision rule.
        aggregation: how tiles became slides; None where images are no tiles.
    """

    calibration: Calibration
    decision: dict[str, Any]
    aggregation: str | None = None

    def calibrate(self, logits: npt.NDArray) -> Floats:
        """Calibrated probabilities (n, classes) from logits."""
        return calibration.softmax(logits, self.calibration.temperature)

    def predict(self, prepared: "PreparedDataset", rows: Ints, logits: npt.NDArray) -> ClassifierPredictions:
        """Predictions for `rows` from their logits (n, classes)."""
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
        """What export and the report need of the rules, as JSON values."""
        return {
            "temperature": self.calibration.temperature,
            "decision": self.decision,
            "calibration": self.calibration.as_dict(),
            **({"aggregation": self.aggregation} if self.aggregation else {}),
        }


@dataclass(frozen=True)
class ClassifierFold:
    """One fold, evaluated.

    Attributes:
        fold: its test fold.
        selected_stage: the training stage whose weights these are, `frozen` or `finetune`.
        calibration, decision: chosen on the validation images of all folds, without the patients of `test`.
        val, test: its images.
        aggregation: how tiles became slides; None where images are no tiles.
    """

    fold: int
    selected_stage: str
    calibration: Calibration
    decision: dict[str, Any]
    val: ClassifierPredictions
    test: ClassifierPredictions
    aggregation: str | None = None

    @property
    def rules(self) -> Rules:
        """From logits of this fold's network to predictions."""
        return Rules(self.calibration, self.decision, self.aggregation)

    def calibrate(self, logits: npt.NDArray) -> Floats:
        """Calibrated probabilities (n, classes) of this fold's network from its logits."""
        return self.rules.calibrate(logits)

    def record(self) -> dict[str, Any]:
        """What export and the report need of the fold, as JSON values."""
        return self.rules.record()


def evaluate_folds(
    requests: Sequence[OutputsRequest], outputs: Sequence[Outputs], prepared: "PreparedDataset", options: EvaluateParams
) -> list[ClassifierFold]:
    """Fit rules per fold on the validation images of all folds, without its test patients, and apply them."""
    rows, logits = pooled_validation(requests, outputs)
    folds = []
    for request, own in zip(requests, outputs, strict=True):
        kept = not_tested(prepared, rows, request.indices["test"])
        rules = _fit(prepared, rows[kept], logits[kept], options)
        val, test = (rules.predict(prepared, request.indices[split], own[split]) for split in SPLITS)
        kept_stage = request.trained.result()["kept"]
        folds.append(
            ClassifierFold(request.fold, kept_stage, rules.calibration, rules.decision, val, test, rules.aggregation)
        )
    return folds


def fit_rules(
    requests: Sequence[OutputsRequest], outputs: Sequence[Outputs], prepared: "PreparedDataset", options: EvaluateParams
) -> Rules:
    """Fit rules on the validation images of all folds, for a network that was trained on all patients."""
    return _fit(prepared, *pooled_validation(requests, outputs), options)


def _fit(prepared: "PreparedDataset", rows: Ints, logits: npt.NDArray, options: EvaluateParams) -> Rules:
    labels, patients = prepared.labels[rows], prepared.patient_ids[rows]
    fitted = calibration.fit_temperature(logits, labels, patients, options.calibration)
    probabilities = calibration.softmax(logits, fitted.temperature)
    rule = decision.fit_decision(probabilities, labels, patients, prepared.classes, options.threshold_criterion)
    return Rules(fitted, rule, prepared.info.get("aggregation"))


def decision_of(pooled: ClassifierPredictions, classes: tuple[str, ...], options: EvaluateParams) -> dict[str, Any]:
    """Choose the decision rule on validation predictions."""
    found = pooled.probabilities, pooled.labels, pooled.patient_ids
    return decision.fit_decision(*found, classes, options.threshold_criterion)


def pool(parts: Sequence[ClassifierPredictions]) -> ClassifierPredictions:
    """All images of several chains, one after the other; an image tested by two chains is there twice."""
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ClassifierPredictions.__dataclass_fields__
        if name != "ordinal"
    }
    return ClassifierPredictions(**joined, ordinal=parts[0].ordinal)


def is_ordinal(info: Mapping[str, Any]) -> bool:
    """Whether dataset.json says that the classes are ordered."""
    return info.get("label_type") == "ordinal"
