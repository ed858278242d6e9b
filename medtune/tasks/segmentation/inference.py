"""Label map of a prepared volume, predicted by torch networks with overlapping windows."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from medtune.evaluation.outputs import without_tf32
from medtune.serving.volumes.pipeline import Preparation, segment
from medtune.serving.volumes.sliding_window import Run
from medtune.serving.volumes.windows import Patch
from medtune.tasks.segmentation.slab_recorder import RecordedSegmentation, SlabRecorder

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


def torch_run(network: nn.Module, device: str) -> Run:
    """Return the network as a function from windows to probabilities, without TF32.

    Args:
        network: maps windows (B, C, *patch) to logits (B, K, *patch). It is moved to the device.
        device: torch device.

    Returns:
        Function from float32 windows to float32 probabilities, as `segment` needs it.
    """
    network = network.to(device).eval()

    def run(windows: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), without_tf32():
            logits = network(torch.from_numpy(np.ascontiguousarray(windows)).to(device))
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

    Returns:
        The label map, with the values that the calibration needs.

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
    return recorder.result(segmentation)
