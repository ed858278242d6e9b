"""Evaluation of each fold. Post-processing and temperature are chosen on validation volumes only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import EvaluateParams
from medtune.data.wording import wording
from medtune.evaluation.out_of_fold import without_tested_patients
from medtune.evaluation.outputs import OutputsRequest
from medtune.runtime.progress import progress
from medtune.tasks.segmentation import Params
from medtune.tasks.segmentation.outputs import SegmentedVolumes
from medtune.tasks.segmentation.rules import Evidence, Rules
from medtune.tasks.segmentation.unlike_training import TrainingVolumes, choose_limit
from medtune.tasks.segmentation.volume_predictions import VolumePredictions, predict

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

VolumeOutputs = Mapping[str, SegmentedVolumes]


@dataclass(frozen=True)
class SegmentationFold:
    """Evaluation result of one fold.

    Attributes:
        fold: index of the test fold.
        selected_stage: training stage of the selected weights.
        rules: post-processing and temperature. The post-processing is chosen on the validation volumes of all folds,
            without the patients of `test`. The temperature is fitted on the validation volumes of this fold.
        val: predictions of the validation volumes.
        test: predictions of the test volumes.
        evidence: validation results of this fold, from which rules are chosen (see `rules.Evidence`).
        training: training volumes of this fold, with which test volumes are compared.
    """

    fold: int
    selected_stage: str
    rules: Rules
    val: VolumePredictions
    test: VolumePredictions
    evidence: Evidence
    training: TrainingVolumes

    def calibrate(self, logits: Any) -> Any:
        """Return the argument unchanged. It consists of label maps, and `from_bundle` applies the rules."""
        return self.rules.calibrate(logits)

    def record(self) -> dict[str, Any]:
        """Return the rules of the fold for result.json, as JSON values."""
        return self.rules.record()


def evaluate_folds(
    requests: Sequence[OutputsRequest],
    outputs: Sequence[VolumeOutputs],
    prepared: "PreparedDataset",
    options: EvaluateParams,
) -> list[SegmentationFold]:
    """Choose the rules of each fold, and compute the metrics of its validation and test volumes.

    The choice of the post-processing and of the limit of the features uses the validation volumes of all folds, except
    volumes of the fold's test patients. A temperature belongs to one network, so its fit uses only the validation
    volumes of the fold.

    Args:
        requests: one per fold.
        outputs: segmented volumes of the network of each fold, by split.
        prepared: prepared dataset.
        options: params section evaluate.

    Returns:
        One result per fold.
    """
    evidence = _all_evidence(requests, outputs, prepared)
    pooled, training = Evidence.pool(evidence).effects, _all_training(requests, outputs, prepared)
    volumes = sum(len(request.indices[split]) for request in requests for split in ("val", "test"))
    folds = []
    with progress("evaluate: metrics", volumes, wording(prepared.info).items) as advance:
        for request, by_split, own, seen in zip(requests, outputs, evidence, training, strict=True):
            tested, task = request.indices["test"], by_split["val"].options
            effects = pooled.select(np.flatnonzero(without_tested_patients(prepared, pooled.rows, tested)))
            voxels = own.voxels.select(np.flatnonzero(without_tested_patients(prepared, own.voxels.rows, tested)))
            limit = choose_limit(training, prepared, tested)
            rules = Rules.choose(effects, voxels, prepared.classes, task, options.calibration, limit)
            flags = {"test": seen.flags(prepared, tested, by_split["test"], limit)}
            val, test = (
                predict(
                    prepared, request.indices[split], by_split[split], rules.post_processing, advance,
                    rules.temperature.value, flags.get(split),
                )
                for split in ("val", "test")
            )  # fmt: skip
            kept = request.trained.result()["kept"]
            folds.append(SegmentationFold(request.fold, kept, rules, val, test, own, seen))
    return folds


def fit_rules(
    requests: Sequence[OutputsRequest],
    outputs: Sequence[VolumeOutputs],
    prepared: "PreparedDataset",
    options: EvaluateParams,
) -> Rules:
    """On the validation volumes of all folds, choose the rules of a network that was trained on all patients.

    Args:
        requests: one per fold.
        outputs: segmented volumes of the network of each fold, by split.
        prepared: prepared dataset.
        options: params section evaluate.

    Returns:
        The rules.
    """
    pooled = Evidence.pool(_all_evidence(requests, outputs, prepared))
    task, limit = outputs[0]["val"].options, choose_limit(_all_training(requests, outputs, prepared), prepared)
    return Rules.choose(pooled.effects, pooled.voxels, prepared.classes, task, options.calibration, limit)


def _all_evidence(
    requests: Sequence[OutputsRequest], outputs: Sequence[VolumeOutputs], prepared: "PreparedDataset"
) -> list[Evidence]:
    return [
        Evidence.measure(prepared, request.indices["val"], by_split["val"])
        for request, by_split in zip(requests, outputs, strict=True)
    ]


def _all_training(
    requests: Sequence[OutputsRequest], outputs: Sequence[VolumeOutputs], prepared: "PreparedDataset"
) -> list[TrainingVolumes]:
    return [
        TrainingVolumes.measure(prepared, request, by_split)
        for request, by_split in zip(requests, outputs, strict=True)
    ]


def choose_decision(
    folds: Sequence[SegmentationFold], prepared: "PreparedDataset", options: EvaluateParams
) -> dict[str, Any]:
    """Choose the rules of the exported model on the validation volumes of all folds.

    The mean of several networks gets the temperature that fits the validation volumes of all folds, each predicted by
    the network of its fold. There are no volumes on which the temperature of the mean could be fitted, because every
    volume is a training volume of some network. The temperature does not change any label map of a single network or
    of the mean.

    Args:
        folds: results of all folds.
        prepared: prepared dataset.
        options: params section evaluate.

    Returns:
        The decision rule (see `Rules.decision`).
    """
    mode, size = folds[0].rules.evidence["mode"], folds[0].rules.post_processing.min_volume_mm3
    task = Params(largest_component=mode, min_volume_mm3=size)
    pooled = Evidence.pool([fold.evidence for fold in folds])
    limit = choose_limit([fold.training for fold in folds], prepared)
    return Rules.choose(pooled.effects, pooled.voxels, prepared.classes, task, options.calibration, limit).decision()
