"""One chain's figures, its temperature and decision rule from validation alone, and all chains pooled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
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
class ClassifierFold:
    """One chain, judged.

    Attributes:
        fold: its test fold.
        selected_stage: the training stage whose weights these are, `frozen` or `finetune`.
        calibration: fitted on its validation images.
        decision: chosen on its validation images.
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

    def record(self) -> dict[str, Any]:
        """What export and the report need of the fold, as JSON values."""
        return {
            "temperature": self.calibration.temperature,
            "decision": self.decision,
            "calibration": self.calibration.as_dict(),
            **({"aggregation": self.aggregation} if self.aggregation else {}),
        }


def evaluate_fold(
    request: OutputsRequest, logits: Outputs, prepared: "PreparedDataset", params: EvaluateParams, seed: int
) -> ClassifierFold:
    """Temperature and decision from the chain's validation images, applied to both its sets."""
    rows = request.indices["val"]
    labels, groups = prepared.labels[rows], prepared.patient_ids[rows]
    fitted = calibration.fit_temperature(logits["val"], labels, groups, params.calibration)
    calibrated = {split: calibration.softmax(logits[split], fitted.temperature) for split in SPLITS}
    rule = decision.fit_decision(calibrated["val"], labels, groups, prepared.classes, params.threshold, seed)
    scored = {
        split: ClassifierPredictions(
            request.indices[split],
            prepared.labels[request.indices[split]],
            prepared.patient_ids[request.indices[split]],
            calibrated[split],
            calibration.softmax(logits[split]),
            decide(calibrated[split], rule, prepared.classes),
            is_ordinal(prepared.info),
        )
        for split in SPLITS
    }
    kept, aggregation = request.trained.result()["kept"], prepared.info.get("aggregation")
    return ClassifierFold(request.fold, kept, fitted, rule, scored["val"], scored["test"], aggregation)


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


def best(folds: Sequence[ClassifierFold]) -> ClassifierFold:
    """The chain whose model is handed over: highest validation AUROC, then lowest validation NLL; never by test."""

    def merit(fold: ClassifierFold) -> tuple[float, float, int]:
        auroc = fold.val.compute_metrics()["auroc"]
        return (-1.0 if auroc is None else auroc, -fold.calibration.nll_after, -fold.fold)

    return max(folds, key=merit)
