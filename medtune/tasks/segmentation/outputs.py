"""Predicted label maps, which stage evaluate stores compressed, one file per network and volume.

A killed run continues with the first volume without a file. A damaged file is computed again.
"""

import io
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medtune.runtime.artifact import atomic_write
from medtune.serving.checksum import add_bytes_checksum, strip_bytes_checksum
from medtune.serving.volumes.pipeline import Segmentation
from medtune.tasks.segmentation import Params
from medtune.tasks.segmentation.case_cache import CaseCache
from medtune.tasks.segmentation.slab_recorder import RecordedSegmentation
from medtune.tasks.segmentation.voxel_samples import VoxelSample

FOLDER = "segmentations"
METRICS_FOLDER = "metrics"
Loader = Callable[[], Segmentation]


class SegmentedVolumes:
    """Label maps of some volumes without post-processing, which are loaded when they are used.

    Attributes:
        options: params of the task, for post-processing and metrics.
        cases: cache of the metrics of these label maps.
        flags: (n,) differences from the training volumes, a tuple of phrases for each volume; None if unknown.
    """

    def __init__(
        self,
        loaders: Sequence[Loader],
        options: Params,
        cases: CaseCache | None = None,
        flags: npt.NDArray[np.object_] | None = None,
    ) -> None:
        """Create the sequence.

        Args:
            loaders: one function per volume, which returns its label map on the grid of the file.
            options: params of the task.
            cases: cache of the metrics; None to compute them each time.
            flags: (n,) tuples of phrases; None if the volumes were not compared with the training volumes.
        """
        self._loaders, self.options, self.cases = tuple(loaders), options, cases or CaseCache(None)
        self.flags = flags

    def __len__(self) -> int:
        """Number of volumes."""
        return len(self._loaders)

    def __getitem__(self, position: int) -> Segmentation:
        """Load one label map."""
        return self._loaders[position]()

    def loader(self, position: int) -> Loader:
        """Return the function that loads one label map."""
        return self._loaders[position]


def segmentation_path(cache: Path, key: str, row: int) -> Path:
    """Return the file of a label map.

    Args:
        cache: folder of the cache.
        key: key of the network and the prepared data.
        row: row of the volume in the manifest.

    Returns:
        The path.
    """
    return cache / FOLDER / key / f"{row}.npz"


def case_cache(cache: Path) -> CaseCache:
    """Return the cache of the metrics, next to the label maps."""
    return CaseCache(cache / FOLDER / METRICS_FOLDER)


def store_segmentation(path: Path, segmentation: Segmentation) -> None:
    """Write a label map, and its recorded values if it has them, atomically and with a checksum."""
    arrays = {"labels": segmentation.labels, "uncertainty": np.array(segmentation.uncertainty, np.float64)}
    if segmentation.features is not None:
        arrays["features"] = segmentation.features
    if isinstance(segmentation, RecordedSegmentation):
        arrays |= {
            "uncertainties": segmentation.uncertainties,
            "voxel_truth": segmentation.voxels.truth,
            "voxel_probabilities": segmentation.voxels.probabilities,
        }
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    with atomic_write(path) as temporary:
        temporary.write_bytes(add_bytes_checksum(stream.getvalue()))


def load_segmentation(path: Path, shape: Sequence[int], n_labels: int) -> Segmentation | None:
    """Read a label map.

    Args:
        path: file of `store_segmentation`.
        shape: shape (X, Y, Z) of the volume in RAS.
        n_labels: number of labels without the background.

    Returns:
        The label map, a `RecordedSegmentation` if one was stored; None if the file is missing, damaged or of
        another volume.
    """
    try:
        content = strip_bytes_checksum(path.read_bytes())
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = dict(stored)
        labels, uncertainty = arrays["labels"], arrays["uncertainty"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    valid = labels.dtype == np.uint8 and labels.shape == tuple(shape) and uncertainty.shape == (n_labels,)
    if not valid or labels.max() > n_labels:
        return None
    doubt = tuple(uncertainty.tolist())
    if "uncertainties" not in arrays:
        return Segmentation(labels, doubt, features=arrays.get("features"))
    voxels = VoxelSample(arrays["voxel_truth"], arrays["voxel_probabilities"])
    return RecordedSegmentation(labels, doubt, arrays["uncertainties"], voxels, features=arrays.get("features"))
