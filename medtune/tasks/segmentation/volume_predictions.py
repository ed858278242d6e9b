"""Predictions of volumes after post-processing, and their metrics on the grids of the files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.evaluation.result import ImageArrays
from medtune.serving.volumes.pipeline import PostProcessing, Segmentation
from medtune.tasks.segmentation import Params
from medtune.tasks.segmentation.calibration_sums import WIDTH, calibration_sums
from medtune.tasks.segmentation.outputs import Loader, SegmentedVolumes
from medtune.tasks.segmentation.rules import stored_temperature
from medtune.tasks.segmentation.slab_recorder import RecordedSegmentation
from medtune.tasks.segmentation.statistics import SegmentationStats, accumulate

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

Rows = npt.NDArray[np.int64]


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
        flags: (n,) differences from the training volumes, a tuple of phrases for each volume.
        maps: (n,) functions that return the label map (X, Y, Z) uint8 after post-processing, on the grid of the file.
        tolerance_mm: tolerance of the normalized surface distance, or one per label.
    """

    rows: Rows
    patient_ids: npt.NDArray[Any]
    cases: npt.NDArray[Any]
    uncertainty: npt.NDArray[np.float64]
    calibration: npt.NDArray[np.float64]
    flags: npt.NDArray[np.object_]
    maps: npt.NDArray[Any]
    tolerance_mm: float | dict[str, float]

    @property
    def dice(self) -> npt.NDArray[np.float64]:
        """(n,) mean Dice of each volume over the labels that truth or prediction has; 1 if there is none."""
        return np.array([_mean_dice(volume) for volume in self.cases])

    def stats(self, options: EvaluateParams) -> SegmentationStats:
        """Compute the statistics per patient from which metrics are computed."""
        return accumulate([tuple(volume) for volume in self.cases], self.patient_ids)


def from_bundle(
    prepared: "PreparedDataset", rows: np.ndarray, output: Any, document: Mapping[str, Any]
) -> VolumePredictions:
    """Return the predictions of an exported model with its post-processing and temperature.

    Args:
        prepared: prepared dataset.
        rows: (n,) rows of the volumes.
        output: label maps of the volumes without post-processing, as `SegmentedVolumes` or as a sequence of
            `Segmentation`. For a sequence, the params of the task are those of the document.
        document: content of bundle.json, or `decision` and `classes`.

    Returns:
        Predictions of the volumes.
    """
    if not isinstance(output, SegmentedVolumes):
        task = (document.get("params") or {}).get("task") or {}
        output = SegmentedVolumes([partial(_same, segmentation) for segmentation in output], Params(**task))
    rules = document["volumes"] if "volumes" in document else document["decision"]
    post_processing = PostProcessing.from_document(rules.get("post_processing", rules))
    temperature = stored_temperature(rules)
    return predict(prepared, np.asarray(rows), output, post_processing, temperature=temperature, flags=output.flags)


def predict(
    prepared: "PreparedDataset",
    rows: Rows,
    outputs: SegmentedVolumes,
    post_processing: PostProcessing,
    advance: Callable[..., None] | None = None,
    temperature: float = 1.0,
    flags: npt.NDArray[np.object_] | None = None,
) -> VolumePredictions:
    """Apply the post-processing, and compute the metrics on the grids of the files.

    Args:
        prepared: prepared dataset.
        rows: (n,) rows of the volumes.
        outputs: segmented volumes, in the order of `rows`.
        post_processing: removal of components.
        advance: called after each volume.
        temperature: temperature of the probabilities of `outputs`. It has no effect on label maps without recorded
            voxels, whose uncertainty already includes it.
        flags: (n,) tuples of phrases; None if the volumes were not compared with the training volumes.

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
    if flags is None:
        flags = np.empty(len(rows), object)
        flags[:] = [()] * len(rows)
    patients = prepared.patient_ids[rows]
    return VolumePredictions(rows, patients, cases, uncertainty, calibration, flags, maps, tolerance)


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
