"""Predictions per fold and pooled. Post-processing and temperature are chosen on validation volumes only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.data.wording import wording
from medtune.evaluation.out_of_fold import without_tested_patients
from medtune.evaluation.outputs import OutputsRequest
from medtune.evaluation.result import ImageArrays
from medtune.runtime.progress import progress
from medtune.serving.volumes.pipeline import PostProcessing, Segmentation
from medtune.tasks.segmentation import Params
from medtune.tasks.segmentation.calibration_sums import WIDTH, calibration_sums
from medtune.tasks.segmentation.outputs import Loader, SegmentedVolumes
from medtune.tasks.segmentation.rules import Evidence, Rules, stored_temperature
from medtune.tasks.segmentation.slab_recorder import RecordedSegmentation
from medtune.tasks.segmentation.statistics import SegmentationStats, accumulate

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

Rows = npt.NDArray[np.int64]
VolumeOutputs = Mapping[str, SegmentedVolumes]


@dataclass(frozen=True)
class VolumePredictions(ImageArrays):
    """Predictions of volumes, in the order of `rows`.

    Attributes:
        rows: (n,) rows of the volumes in the manifest.
        patient_ids: (n,) patient of each volume.
        cases: (n, labels) `LabelMetrics` of each volume and label.
        uncertainty: (n, labels) mean of 1 - p over the voxels of each predicted label, NaN for a label that is not
            predicted (see `Segmentation.uncertainty`). p is the probability after temperature scaling.
        calibration: (n, WIDTH) results of `calibration_sums`, NaN for volumes without a voxel sample.
        maps: (n,) functions that return the label map (X, Y, Z) uint8 after post-processing, on the grid of the file.
        tolerance_mm: tolerance of the normalized surface distance, or one per label.
    """

    rows: Rows
    patient_ids: npt.NDArray[Any]
    cases: npt.NDArray[Any]
    uncertainty: npt.NDArray[np.float64]
    calibration: npt.NDArray[np.float64]
    maps: npt.NDArray[Any]
    tolerance_mm: float | dict[str, float]

    @property
    def dice(self) -> npt.NDArray[np.float64]:
        """(n,) mean Dice of each volume over the labels that truth or prediction has; 1 if there is none."""
        return np.array([_mean_dice(volume) for volume in self.cases])

    def stats(self, options: EvaluateParams) -> SegmentationStats:
        """Compute the statistics per patient from which metrics are computed."""
        return accumulate([tuple(volume) for volume in self.cases], self.patient_ids)


@dataclass(frozen=True)
class SegmentationFold:
    """Evaluation result of one fold.

    Attributes:
        fold: index of the test fold.
        selected_stage: training stage of the selected weights.
        rules: post-processing, chosen on the validation volumes of all folds without the patients of `test`. The
            temperature is fitted on the validation volumes of this fold.
        val: predictions of the validation volumes.
        test: predictions of the test volumes.
        evidence: evidence of the validation volumes of this fold.
    """

    fold: int
    selected_stage: str
    rules: Rules
    val: VolumePredictions
    test: VolumePredictions
    evidence: Evidence

    def calibrate(self, logits: Any) -> Any:
        """Return the label maps unchanged."""
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

    The choice of the post-processing uses the validation volumes of all folds, except volumes of the fold's test
    patients. A temperature belongs to one network, so its fit uses only the validation volumes of the fold.

    Args:
        requests: one per fold.
        outputs: label maps of each fold's network by split.
        prepared: prepared dataset.
        options: params section evaluate.

    Returns:
        One result per fold.
    """
    evidence = _all_evidence(requests, outputs, prepared)
    pooled = Evidence.pool(evidence).effects
    volumes = sum(len(request.indices[split]) for request in requests for split in ("val", "test"))
    folds = []
    with progress("evaluate: metrics", volumes, wording(prepared.info).items) as advance:
        for request, by_split, own in zip(requests, outputs, evidence, strict=True):
            tested, task = request.indices["test"], by_split["val"].options
            effects = pooled.select(without_tested_patients(prepared, pooled.rows, tested))
            voxels = own.voxels.select(without_tested_patients(prepared, own.voxels.rows, tested))
            rules = Rules.choose(effects, voxels, prepared.classes, task, options.calibration)
            val, test = (
                predict(
                    prepared, request.indices[split], by_split[split], rules.post_processing, advance,
                    rules.temperature.value,
                )
                for split in ("val", "test")
            )  # fmt: skip
            folds.append(SegmentationFold(request.fold, request.trained.result()["kept"], rules, val, test, own))
    return folds


def fit_rules(
    requests: Sequence[OutputsRequest],
    outputs: Sequence[VolumeOutputs],
    prepared: "PreparedDataset",
    options: EvaluateParams,
) -> Rules:
    """Choose the rules of a network that was trained on all patients, on the validation volumes of all folds.

    Args:
        requests: one per fold.
        outputs: label maps of each fold's network by split.
        prepared: prepared dataset.
        options: params section evaluate.

    Returns:
        The rules.
    """
    pooled = Evidence.pool(_all_evidence(requests, outputs, prepared))
    task = outputs[0]["val"].options
    return Rules.choose(pooled.effects, pooled.voxels, prepared.classes, task, options.calibration)


def _all_evidence(
    requests: Sequence[OutputsRequest], outputs: Sequence[VolumeOutputs], prepared: "PreparedDataset"
) -> list[Evidence]:
    return [
        Evidence.measure(prepared, request.indices["val"], by_split["val"])
        for request, by_split in zip(requests, outputs, strict=True)
    ]


def choose_decision(
    folds: Sequence[SegmentationFold], prepared: "PreparedDataset", options: EvaluateParams
) -> dict[str, Any]:
    """Choose the rules of the exported model on the validation volumes of all folds.

    The mean of several networks gets the temperature that fits the validation volumes of all folds, each predicted by
    the network of its fold. There are no volumes on which the mean could be fitted, because every volume is a training
    volume of some network. The temperature changes no label map, neither of a single network nor of the mean.

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
    return Rules.choose(pooled.effects, pooled.voxels, prepared.classes, task, options.calibration).decision()


def from_bundle(
    prepared: "PreparedDataset", rows: np.ndarray, output: Any, document: Mapping[str, Any]
) -> VolumePredictions:
    """Return the predictions of an exported model with its post-processing and temperature.

    Args:
        prepared: prepared dataset.
        rows: (n,) rows of the volumes.
        output: label maps of the volumes without post-processing, `SegmentedVolumes`. Or a sequence of `Segmentation`;
            the params of the task are then those of the document.
        document: content of bundle.json, or `decision` and `classes`.

    Returns:
        Predictions of the volumes.
    """
    if not isinstance(output, SegmentedVolumes):
        task = (document.get("params") or {}).get("task") or {}
        output = SegmentedVolumes([partial(_same, segmentation) for segmentation in output], Params(**task))
    rules = document["volumes"] if "volumes" in document else document["decision"]
    post_processing = PostProcessing.from_document(rules.get("post_processing", rules))
    return predict(prepared, np.asarray(rows), output, post_processing, temperature=stored_temperature(rules))


def predict(
    prepared: "PreparedDataset",
    rows: Rows,
    outputs: SegmentedVolumes,
    post_processing: PostProcessing,
    advance: Callable[..., None] | None = None,
    temperature: float = 1.0,
) -> VolumePredictions:
    """Apply the post-processing, and compute the metrics on the grids of the files.

    Args:
        prepared: prepared dataset.
        rows: (n,) rows of the volumes.
        outputs: label maps of the volumes.
        post_processing: components that are removed.
        advance: called after each volume.
        temperature: temperature of the probabilities of `outputs`. It has no effect on label maps without recorded
            voxels, whose uncertainty already has it.

    Returns:
        The predictions.
    """
    labels = {name: index for index, name in enumerate(prepared.classes, 1)}
    cases, maps = np.empty((len(rows), len(labels)), object), np.empty(len(rows), object)
    uncertainty = np.empty((len(rows), len(labels)))
    calibration = np.full((len(rows), WIDTH), np.nan)
    tolerance = outputs.options.tolerance_mm
    for position, row in enumerate(rows.tolist()):
        segmentation, spacing = outputs[position], prepared.volumes.entries[row].spacing
        cases[position] = outputs.cases.metrics(
            prepared.volumes.truth(row), segmentation.labels, post_processing, spacing, labels, tolerance
        )
        uncertainty[position] = segmentation.uncertainty
        if isinstance(segmentation, RecordedSegmentation):
            uncertainty[position] = segmentation.uncertainty_at(temperature)
            calibration[position] = calibration_sums(segmentation.voxels, temperature)
        maps[position] = partial(_label_map, outputs.loader(position), post_processing, len(labels), spacing)
        if advance:
            advance()
    return VolumePredictions(rows, prepared.patient_ids[rows], cases, uncertainty, calibration, maps, tolerance)


def _label_map(
    load: Loader, post_processing: PostProcessing, n_labels: int, spacing: Sequence[float]
) -> npt.NDArray[np.uint8]:
    return post_processing.apply(load().labels, n_labels, spacing)


def _same(segmentation: Segmentation) -> Segmentation:
    return segmentation


def _mean_dice(volume: Sequence[Any]) -> float:
    present = [case.dice for case in volume if case.outcome != "both empty"]
    return float(np.mean(present)) if present else 1.0


pool = VolumePredictions.pool
