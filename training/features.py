"""Features of a frozen backbone, computed once: a memory-mapped, content-addressed half-precision store.

One folder a dihedral view, named by everything the features depend on; every fold, head and later run
that needs the same view finds it there. Written in a stream: memory does not grow with the set.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from config.artifact import digest, find, partial, publish
from config.cli import say
from config.closure import source_closure
from config.progress import progress
from config.schema import Params
from config.versions import installed
from datasets.manifest import Prepared
from models.classifier import Classifier
from models.weights import state_sha256
from training.augment import dihedral

BATCH = 32


class FeatureStore:
    """(n, N, C) features of every image of a prepared set, one memory-mapped array a view."""

    def __init__(self, views: Sequence[np.ndarray]) -> None:
        self.views = list(views)

    def gather(self, rows: np.ndarray, views: np.ndarray | None = None) -> torch.Tensor:
        """float32 (B, N, C) features of images `rows`, each in its view (view 0 where not given)."""
        first = self.views[0]
        out = np.empty((len(rows), *first.shape[1:]), np.float32)
        chosen = np.zeros(len(rows), int) if views is None else views
        for view in np.unique(chosen):
            at = chosen == view
            out[at] = self.views[view][rows[at]]
        return torch.from_numpy(out)

    def batches(self, rows: np.ndarray) -> Iterator[torch.Tensor]:
        """float32 (B, N, C) features of images `rows` in view 0, in slices."""
        for start in range(0, len(rows), BATCH):
            yield self.gather(rows[start : start + BATCH])


def store_bytes(prepared: Prepared, tokens: int, channels: int, views: int) -> int:
    """Disk that the store of `views` views takes."""
    return len(prepared.labels) * tokens * channels * 2 * views


@torch.inference_mode()
def compute(
    model: Classifier, prepared: Prepared, params: Params, views: int, cache: Path, device: str
) -> FeatureStore:
    """The store for `views` dihedral views, computing only the views that are not there.

    Args:
        model: on `device`, in eval mode; its backbone and what its head reads decide the features.
        prepared: the packed set; every image is computed, so that every fold finds its own.
        params: the backbone's name and arguments; weights and transform enter through `model`.
        views: 1 to 8.
        cache: folder of the content-addressed store.
        device: where the backbone runs.
    """
    base = {
        "images": prepared.digest,
        "backbone": state_sha256(model.backbone),
        "reads": model.reads,
        "model": params.model.backbone,
        "args": params.model.backbone_args,
        "mean": model.mean.tolist(),
        "std": model.std.tolist(),
        "source": source_closure("training.features"),
        "versions": installed("torch", "timm"),
        "device": torch.device(device).type,
    }
    arrays = []
    for view in range(views):
        key = digest({**base, "view": view})
        folder = cache / "features" / key[:24]
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if find(folder, key) is None:
                _write(model, prepared, view, folder, key, device, f"features, view {view + 1} of {views}")
            elif view == 0:
                say(f"features: found in the store ({folder.name})")
        arrays.append(np.load(folder / "features.npy", mmap_mode="r"))
    return FeatureStore(arrays)


def _write(model: Classifier, prepared: Prepared, view: int, folder: Path, key: str, device: str, label: str) -> None:
    work = partial(folder)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    n = len(prepared.labels)
    array = None
    with progress(label, n, "images") as advance:
        for start in range(0, n, BATCH):
            images = torch.from_numpy(np.array(prepared.images[start : start + BATCH])).to(device)
            x = dihedral(model.preprocess(images), torch.full((len(images),), view))
            features = model.features(x).float().cpu().numpy()
            if not np.isfinite(features).all() or np.abs(features).max() > np.finfo(np.float16).max:
                raise RuntimeError(
                    f"features of {prepared.paths[start]} and after exceed half precision; set frozen.views: online"
                )
            if array is None:
                array = np.lib.format.open_memmap(
                    work / "features.npy", mode="w+", dtype=np.float16, shape=(n, *features.shape[1:])
                )
            array[start : start + len(features)] = features
            advance(len(features))
    assert array is not None
    array.flush()
    del array
    publish(folder, key, {"images": prepared.digest, "view": view})
