"""Label map of a prepared volume, predicted by torch networks with overlapping windows."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from medtune.data.wording import wording
from medtune.evaluation.outputs import without_tf32
from medtune.models.window_network import WindowNetwork
from medtune.runtime.progress import progress
from medtune.serving.volumes.network_features import FeatureSums
from medtune.serving.volumes.pipeline import Preparation, segment
from medtune.serving.volumes.sliding_window import Run
from medtune.serving.volumes.windows import Patch
from medtune.tasks.segmentation.feature_space import training_rows
from medtune.tasks.segmentation.slab_recorder import RecordedSegmentation, SlabRecorder

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


def torch_run(network: nn.Module, device: str, features: FeatureSums | None = None) -> Run:
    """Return the network as a function from windows to probabilities, without TF32.

    Args:
        network: maps windows (B, C, *patch) to logits (B, K, *patch). It is moved to the device.
        device: torch device.
        features: gets the features of the windows, if the network computes them.

    Returns:
        Function from float32 windows to float32 probabilities, as `segment` needs it.
    """
    network = network.to(device).eval()

    def run(windows: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), without_tf32():
            inputs = torch.from_numpy(np.ascontiguousarray(windows)).to(device)
            if features is not None and isinstance(network, WindowNetwork):
                logits, found = network.forward_with_features(inputs)
                features.add(found[:, None].float().cpu().numpy())
            else:
                logits = network(inputs)
            return np.asarray(logits.float().softmax(dim=1).cpu().numpy())

    return run


def mean_run(runs: Sequence[Run]) -> Run:
    """Return the mean of the probabilities of several networks as one network."""
    return runs[0] if len(runs) == 1 else lambda windows: np.mean([run(windows) for run in runs], axis=0)


def segment_volume(
    prepared: "PreparedDataset",
    row: int,
    run: Run,
    patch: Patch,
    overlap: float,
    batch: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
    views: Sequence[int] = (),
    features: Sequence[FeatureSums] = (),
) -> RecordedSegmentation:
    """Predict the label map of a prepared volume on the grid of its file, without post-processing.

    Args:
        prepared: prepared dataset.
        row: row of the volume in the manifest.
        run: function from windows to probabilities.
        patch: voxels of a window per axis.
        overlap: overlap of neighboring windows, fraction of the patch.
        batch: windows per call of `run`.
        on_progress: called with the number of finished windows and the total number of windows.
        views: axes whose mirrored windows are also predicted.
        features: sums of network features that `run` updates, one per network.

    Returns:
        The label map, with the values that the calibration needs, and the features.

    Raises:
        ValueError: `run` returns another shape, NaN or infinity.
    """
    entry, n_labels = prepared.volumes.entries[row], len(prepared.classes)
    shape = (int(entry.original_shape[0]), int(entry.original_shape[1]), int(entry.original_shape[2]))
    recorder = SlabRecorder(prepared.volumes.mask(row), n_labels)
    segmentation = segment(
        prepared.volumes.image(row),
        shape,
        entry.spacing,
        Preparation.from_document(prepared.info["volumes"]),
        run,
        patch,
        overlap,
        n_labels,
        batch,
        on_progress,
        views,
        on_slab=recorder,
    )
    if features and all(features):
        segmentation = replace(segmentation, features=np.concatenate([sums.take() for sums in features]))
    return recorder.result(segmentation)


def training_features(
    prepared: "PreparedDataset", fold: int, network: nn.Module, device: str, overlap: float, views: Sequence[int]
) -> np.ndarray:
    """Compute the features of the volumes that `training_rows` selects.

    Args:
        prepared: prepared dataset.
        fold: test fold of the network, or `medtune.serving.members.REFIT`.
        network: the network, a `WindowNetwork`. It is on the CPU afterwards.
        device: torch device.
        overlap: overlap of neighboring windows, fraction of the patch.
        views: axes whose mirrored windows are also predicted.

    Returns:
        (n, F) features.
    """
    x, y, z = prepared.info["volumes"]["patch"]
    rows, sums, found = training_rows(prepared, fold), FeatureSums(), []
    run = torch_run(network, device, sums)
    with progress(f"features on {device}", len(rows), wording(prepared.info).items) as advance:
        for row in rows:
            segmentation = segment_volume(prepared, row, run, (x, y, z), overlap, views=views, features=[sums])
            assert segmentation.features is not None
            found.append(segmentation.features[0])
            advance()
    network.cpu()
    return np.stack(found)
