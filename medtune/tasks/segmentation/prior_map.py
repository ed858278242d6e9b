"""Baseline of segmentation: the mean mask of the training volumes, which shows how much position alone explains.

The masks of the training volumes are resampled to the same number of voxels and averaged. The result is the frequency
of each label at each position. A voxel of a test volume gets the label whose frequency exceeds its threshold by the
largest factor. The threshold of a label has the best Dice on the training and validation volumes of the fold. The
baseline does not read the image.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.data.wording import wording
from medtune.evaluation.baselines import compare_baseline
from medtune.evaluation.metric import Metric
from medtune.evaluation.outputs import OutputsRequest
from medtune.runtime.progress import progress
from medtune.serving.volumes.pipeline import PostProcessing, Segmentation
from medtune.serving.volumes.resampling import resample_mask, resample_to_labels
from medtune.tasks.segmentation.folds import VolumeOutputs
from medtune.tasks.segmentation.outputs import SegmentedVolumes
from medtune.tasks.segmentation.volume_predictions import VolumePredictions, pool, predict

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

NAME, TITLE = "prior_map", "mean mask of the training {items}"
MAX_SIDE = 64  # voxels of the common grid per axis
THRESHOLDS = np.linspace(0.05, 0.95, 19)
Floats = npt.NDArray[np.float64]
Masks = Mapping[int, npt.NDArray[np.uint8]]


def compare_prior_map(
    requests: Sequence[OutputsRequest],
    outputs: Sequence[VolumeOutputs],
    prepared: "PreparedDataset",
    tested: VolumePredictions,
    metrics: Sequence[Metric],
    options: EvaluateParams,
) -> list[dict[str, Any]]:
    """Predict the test volumes of all folds with the mean mask, and compare the result with the model.

    Args:
        requests: one per fold.
        outputs: segmented volumes of the network of each fold, by split. They contain the params of the task.
        prepared: prepared dataset.
        tested: predictions of the model for the test volumes of all folds, in the order of `requests`.
        metrics: metrics of the task.
        options: params section evaluate.

    Returns:
        One entry in the format of `medtune.evaluation.baselines.evaluate_baselines`.
    """
    splits = [prepared.indices(request.fold) for request in requests]
    fitted_on = [np.union1d(split["train"], split["val"]).tolist() for split in splits]
    volumes = sorted({row for rows in fitted_on for row in rows})
    grid, words = common_grid(prepared), wording(prepared.info)
    parts = []
    with progress("evaluate: baseline", len(volumes) + len(tested.rows), words.items) as advance:
        masks = {}
        for row in volumes:
            masks[row] = resample_mask(np.asarray(prepared.volumes.mask(row)), grid)
            advance()
        for split, rows, by_split in zip(splits, fitted_on, outputs, strict=True):
            train = [masks[row] for row in split["train"].tolist()]
            scores = fit_scores(train, [masks[row] for row in rows], len(prepared.classes))
            task = by_split["test"].options
            loaders = [partial(predict_labels, scores, prepared, row) for row in split["test"].tolist()]
            predicted = SegmentedVolumes(loaders, task)
            parts.append(predict(prepared, split["test"], predicted, PostProcessing(), advance))
    return [compare_baseline(NAME, TITLE.format(items=words.items), parts, pool(parts), tested, metrics, options)]


def common_grid(prepared: "PreparedDataset") -> tuple[int, int, int]:
    """Return the median shape of the prepared volumes, with at most `MAX_SIDE` voxels per axis."""
    median = np.median([entry.shape for entry in prepared.volumes.entries], axis=0)
    x, y, z = np.clip(np.rint(median), 1, MAX_SIDE).astype(int).tolist()
    return x, y, z


def fit_scores(
    train: Sequence[npt.NDArray[np.uint8]], selected_on: Sequence[npt.NDArray[np.uint8]], n_labels: int
) -> npt.NDArray[np.float32]:
    """Compute the frequency of each label relative to its best threshold.

    Args:
        train: masks (X, Y, Z) of the training volumes on the common grid.
        selected_on: masks of the volumes on which the thresholds are selected.
        n_labels: number of labels without the background.

    Returns:
        (1 + n_labels, X, Y, Z) float32. The background has the score 1, so that the largest score is the prediction.
    """
    scores = np.ones((n_labels + 1, *train[0].shape), np.float32)
    for label in range(1, n_labels + 1):
        frequency = np.mean([mask == label for mask in train], axis=0)
        scores[label] = frequency / best_threshold(frequency, [mask == label for mask in selected_on])
    return scores


def best_threshold(frequency: Floats, masks: Sequence[npt.NDArray[np.bool_]]) -> float:
    """Return the threshold with the highest mean Dice. If several are equally good, the lowest is returned.

    Args:
        frequency: (X, Y, Z) frequency of the label, 0..1.
        masks: masks of the label on the same grid. Empty masks do not count.

    Returns:
        One of `THRESHOLDS`; the highest if all masks are empty.
    """
    predicted = (frequency.ravel() > THRESHOLDS[:, None]).astype(np.float32)
    sizes, dice = predicted.sum(axis=1), []
    for mask in masks:
        if size := np.count_nonzero(mask):
            dice.append(2 * (predicted @ mask.ravel().astype(np.float32)) / (sizes + size))
    return float(THRESHOLDS[np.argmax(np.mean(dice, axis=0))] if dice else THRESHOLDS[-1])


def predict_labels(scores: npt.NDArray[np.float32], prepared: "PreparedDataset", row: int) -> Segmentation:
    """Return the label map of the baseline on the grid of a volume's file, without uncertainty (NaN)."""
    x, y, z = prepared.volumes.entries[row].original_shape
    return Segmentation(resample_to_labels(scores, (x, y, z)), (np.nan,) * (len(scores) - 1))
