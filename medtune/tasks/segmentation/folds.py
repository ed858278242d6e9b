"""Predictions per fold and pooled. The post-processing is chosen on validation volumes only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.evaluation.out_of_fold import without_tested_patients
from medtune.evaluation.outputs import OutputsRequest
from medtune.evaluation.result import ImageArrays
from medtune.runtime.progress import progress
from medtune.serving.volumes.pipeline import PostProcessing, Segmentation
from medtune.tasks.segmentation import Params
from medtune.tasks.segmentation.case_metrics import case_metrics
from medtune.tasks.segmentation.component_choice import ComponentEffects, choose_components, component_effects
from medtune.tasks.segmentation.outputs import Loader, SegmentedVolumes
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
            predicted (see `Segmentation.uncertainty`).
        maps: (n,) functions that return the label map (X, Y, Z) uint8 after post-processing, on the grid of the file.
        tolerance_mm: tolerance of the normalized surface distance, or one per label.
    """

    rows: Rows
    patient_ids: npt.NDArray[Any]
    cases: npt.NDArray[Any]
    uncertainty: npt.NDArray[np.float64]
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
class Rules:
    """Post-processing of a network.

    Attributes:
        post_processing: components that are removed.
        evidence: reasons for the choice, as JSON values.
    """

    post_processing: PostProcessing
    evidence: dict[str, Any]

    def calibrate(self, logits: Any) -> Any:
        """Return the label maps unchanged, because post-processing follows in `from_bundle`."""
        return logits

    def record(self) -> dict[str, Any]:
        """Return the post-processing for result.json, as JSON values."""
        return {"decision": decision_document(self.post_processing, self.evidence)}


@dataclass(frozen=True)
class SegmentationFold:
    """Evaluation result of one fold.

    Attributes:
        fold: index of the test fold.
        selected_stage: training stage of the selected weights.
        rules: post-processing, chosen on the validation volumes of all folds without the patients of `test`.
        val: predictions of the validation volumes.
        test: predictions of the test volumes.
        effects: effects of the largest component on the validation volumes of this fold.
    """

    fold: int
    selected_stage: str
    rules: Rules
    val: VolumePredictions
    test: VolumePredictions
    effects: ComponentEffects

    def calibrate(self, logits: Any) -> Any:
        """Return the label maps unchanged."""
        return self.rules.calibrate(logits)

    def record(self) -> dict[str, Any]:
        """Return the post-processing of the fold for result.json, as JSON values."""
        return self.rules.record()


def decision_document(post_processing: PostProcessing, evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Return the decision rule of a model: the fields of `PostProcessing`, `kind`, `chosen_on` and `evidence`."""
    return {
        "kind": "post_processing",
        **post_processing.document(),
        "chosen_on": "validation",
        "evidence": dict(evidence),
    }


def evaluate_folds(
    requests: Sequence[OutputsRequest],
    outputs: Sequence[VolumeOutputs],
    prepared: "PreparedDataset",
    options: EvaluateParams,
) -> list[SegmentationFold]:
    """Choose the post-processing of each fold, and compute the metrics of its validation and test volumes.

    The choice uses the validation volumes of all folds, except volumes of the fold's test patients.

    Args:
        requests: one per fold.
        outputs: label maps of each fold's network by split.
        prepared: prepared dataset.
        options: params section evaluate.

    Returns:
        One result per fold.
    """
    effects = _all_effects(requests, outputs, prepared)
    pooled = ComponentEffects.pool(effects)
    volumes = sum(len(request.indices[split]) for request in requests for split in ("val", "test"))
    folds = []
    with progress("evaluate: metrics", volumes, "volumes") as advance:
        for request, by_split, own in zip(requests, outputs, effects, strict=True):
            usable = without_tested_patients(prepared, pooled.rows, request.indices["test"])
            rules = Rules(*choose_components(pooled.select(usable), prepared.classes, by_split["val"].options))
            val, test = (
                predict(prepared, request.indices[split], by_split[split], rules.post_processing, advance)
                for split in ("val", "test")
            )
            folds.append(SegmentationFold(request.fold, request.trained.result()["kept"], rules, val, test, own))
    return folds


def fit_rules(
    requests: Sequence[OutputsRequest],
    outputs: Sequence[VolumeOutputs],
    prepared: "PreparedDataset",
    options: EvaluateParams,
) -> Rules:
    """Choose the post-processing of a network that was trained on all patients, on the validation volumes of all folds.

    Args:
        requests: one per fold.
        outputs: label maps of each fold's network by split.
        prepared: prepared dataset.
        options: params section evaluate.

    Returns:
        The post-processing.
    """
    effects = ComponentEffects.pool(_all_effects(requests, outputs, prepared))
    return Rules(*choose_components(effects, prepared.classes, outputs[0]["val"].options))


def _all_effects(
    requests: Sequence[OutputsRequest], outputs: Sequence[VolumeOutputs], prepared: "PreparedDataset"
) -> list[ComponentEffects]:
    return [
        component_effects(prepared, request.indices["val"], by_split["val"])
        for request, by_split in zip(requests, outputs, strict=True)
    ]


def choose_decision(
    folds: Sequence[SegmentationFold], prepared: "PreparedDataset", options: EvaluateParams
) -> dict[str, Any]:
    """Choose the post-processing of the exported model on the validation volumes of all folds."""
    mode, size = folds[0].rules.evidence["mode"], folds[0].rules.post_processing.min_volume_mm3
    task = Params(largest_component=mode, min_volume_mm3=size)
    effects = ComponentEffects.pool([fold.effects for fold in folds])
    return decision_document(*choose_components(effects, prepared.classes, task))


def from_bundle(
    prepared: "PreparedDataset", rows: np.ndarray, output: Any, document: Mapping[str, Any]
) -> VolumePredictions:
    """Return the predictions of an exported model with its post-processing.

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
    values = document["volumes"]["post_processing"] if "volumes" in document else document["decision"]
    return predict(prepared, np.asarray(rows), output, PostProcessing.from_document(values))


def predict(
    prepared: "PreparedDataset",
    rows: Rows,
    outputs: SegmentedVolumes,
    post_processing: PostProcessing,
    advance: Callable[..., None] | None = None,
) -> VolumePredictions:
    """Apply the post-processing, and compute the metrics on the grids of the files.

    Args:
        prepared: prepared dataset.
        rows: (n,) rows of the volumes.
        outputs: label maps of the volumes.
        post_processing: components that are removed.
        advance: called after each volume.

    Returns:
        The predictions.
    """
    labels = {name: index for index, name in enumerate(prepared.classes, 1)}
    cases, maps = np.empty((len(rows), len(labels)), object), np.empty(len(rows), object)
    uncertainty = np.empty((len(rows), len(labels)))
    for position, row in enumerate(rows.tolist()):
        segmentation, spacing = outputs[position], prepared.volumes.entries[row].spacing
        mask = post_processing.apply(segmentation.labels, len(labels), spacing)
        cases[position] = case_metrics(prepared.volumes.truth(row), mask, spacing, labels, outputs.options.tolerance_mm)
        uncertainty[position] = segmentation.uncertainty
        maps[position] = partial(_label_map, outputs.loader(position), post_processing, len(labels), spacing)
        if advance:
            advance()
    return VolumePredictions(rows, prepared.patient_ids[rows], cases, uncertainty, maps, outputs.options.tolerance_mm)


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
