"""Label maps of prepared volumes, predicted by a bundle with onnxruntime."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medtune.config.errors import RunError
from medtune.data.wording import wording
from medtune.runtime.progress import progress
from medtune.serving.volumes.pipeline import Segmentation
from medtune.tasks.segmentation import Params
from medtune.tasks.segmentation.outputs import SegmentedVolumes, load_segmentation, store_segmentation
from medtune.tasks.segmentation.slab_recorder import SlabRecorder

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset
    from medtune.serving.volumes.bundle import VolumeBundle

# Windows per run of the network on a GPU. A CPU needs no batches.
WINDOWS_ON_GPU = 4


def bundle_outputs(bundle: "VolumeBundle", prepared: "PreparedDataset", folder: Path) -> SegmentedVolumes:
    """Predict all volumes and store their label maps, so that only one volume is in memory.

    Args:
        bundle: the loaded bundle.
        prepared: volumes that were prepared with the settings of the bundle.
        folder: existing folder for the label maps, in use as long as the result.

    Returns:
        The label maps without post-processing and their flags, in the order of the manifest. Their options are those of
        the training.

    Raises:
        RunError: the model returns values that are not finite, or the memory is not sufficient.
    """
    names, entries, words = prepared.paths, prepared.volumes.entries, wording(prepared.info)
    batch = 1 if bundle.providers[0] == "CPUExecutionProvider" else WINDOWS_ON_GPU
    loaders: list[Callable[[], Segmentation]] = []
    flags = np.empty(len(entries), object)
    with progress(f"evaluate: {bundle.precision}", len(entries), words.items) as advance:
        for row, entry in enumerate(entries):
            x, y, z = entry.original_shape
            recorder = SlabRecorder(prepared.volumes.mask(row), len(prepared.classes))
            try:
                found = bundle.segment_prepared(
                    prepared.volumes.image(row), (x, y, z), entry.spacing, batch_size=batch, on_slab=recorder
                )
            except ValueError as error:
                raise RunError(f"{bundle.folder}: {names[row]}: {error}") from None
            except MemoryError:
                raise RunError(f"{names[row]}: not enough memory to segment the {words.item}. Leave it out") from None
            flags[row] = bundle.settings.differences((x, y, z), entry.spacing, entry.quantiles, found.features)
            path = folder / f"{row}.npz"
            store_segmentation(path, recorder.result(found))
            loaders.append(partial(_load, path, (x, y, z), len(prepared.classes), names[row]))
            advance()
    options = (bundle.manifest.get("params") or {}).get("task") or {}
    return SegmentedVolumes(loaders, Params(**options), flags=flags)


def _load(path: Path, shape: tuple[int, int, int], n_labels: int, name: str) -> Segmentation:
    segmentation = load_segmentation(path, shape, n_labels)
    if segmentation is None:
        raise RunError(f"{name}: a stored label map was changed while it was used. Run again")
    return segmentation
