"""Features of a frozen backbone, computed once: a memory-mapped, content-addressed half-precision store.

One folder a dihedral view, named by everything the features depend on; every fold, share, head and later run that
needs the same view finds there what others computed, and adds the rows that it is the first to need. Written in a
stream: memory does not grow with the set.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from medtune.config.errors import RunError
from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.models.classifier import Classifier
from medtune.models.weights import state_sha256
from medtune.runtime.artifact import commit, digest, partial_dir
from medtune.runtime.console import info
from medtune.runtime.progress import progress
from medtune.runtime.provenance import package_versions
from medtune.runtime.source_hash import source_fingerprint
from medtune.training.augmentation import dihedral
from medtune.training.feature_store import FEATURES_FILE, INDICES_FILE, FeatureShard, FeatureStore, load_shards

BATCH = 32


def required_indices(splits: Mapping[str, np.ndarray], views: int, refit: bool = False) -> list[np.ndarray]:
    """Rows that a fold reads in each of `views` views: training images in all, validation images in view 0.

    Args:
        splits: its rows by part, as `PreparedDataset.indices` gives them.
        views: 1 to 8.
        refit: whether it trains on the validation images too, in the end.
    """
    both = np.union1d(splits["train"], splits["val"])
    return [both, *[both if refit else splits["train"]] * (views - 1)]


def store_bytes(indices_by_view: Sequence[np.ndarray], tokens: int, channels: int) -> int:
    """Disk that the features of `indices_by_view`, rows by view, take."""
    return sum(map(len, indices_by_view)) * tokens * channels * 2


@torch.inference_mode()
def compute_features(
    model: Classifier,
    prepared: PreparedDataset,
    params: Params,
    indices_by_view: Sequence[np.ndarray],
    cache: Path,
    device: str,
) -> FeatureStore:
    """The store that holds `indices_by_view`, computing only the rows that are not there.

    Args:
        model: on `device`, in eval mode; its backbone and what its head reads decide the features.
        prepared: the packed set.
        params: the backbone's name and arguments; weights and transform enter through `model`.
        indices_by_view: rows by view, for views 0 to at most 7.
        cache: folder of the content-addressed store.
        device: where the backbone runs.
    """
    base = {
        "images": prepared.pixels_digest,
        "backbone": state_sha256(model.backbone),
        "reads": model.feature_kind,
        "model": params.model.backbone,
        "args": params.model.backbone_args,
        "mean": model.mean.tolist(),
        "std": model.std.tolist(),
        "source": source_fingerprint("medtune.training.feature_cache"),
        "versions": package_versions("torch", "timm"),
        "device": torch.device(device).type,
    }
    stored, new = [], 0
    for view, rows in enumerate(indices_by_view):
        key = digest({**base, "view": view})
        folder = cache / "features" / key[:24]
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            shards, new_shard = load_shards(folder, key)
            missing = (
                np.setdiff1d(rows, np.concatenate([shard.indices for shard in shards])) if shards else np.unique(rows)
            )
            if len(missing):
                label = f"features, view {view + 1} of {len(indices_by_view)}"
                shards.append(_write_shard(model, prepared, missing, view, new_shard, key, device, label))
        stored.append(shards)
        new += len(missing)
    if not new:
        info(f"features: found in the store ({folder.name})")
    return FeatureStore(len(prepared.labels), stored)


def _write_shard(
    model: Classifier,
    prepared: PreparedDataset,
    rows: np.ndarray,
    view: int,
    folder: Path,
    key: str,
    device: str,
    label: str,
) -> FeatureShard:
    tmp_dir = partial_dir(folder)
    shutil.rmtree(tmp_dir, ignore_errors=True)
    tmp_dir.mkdir(parents=True)
    np.save(tmp_dir / INDICES_FILE, rows)
    array, done = None, 0
    with progress(label, len(rows), "images") as advance:
        # All about as long: convolutions on a CPU give other last digits in batches of fewer than 16.
        for batch in np.array_split(rows, -(-len(rows) // BATCH)):
            images = torch.from_numpy(prepared.images[batch]).to(device)
            x = dihedral(model.preprocess(images), torch.full((len(images),), view))
            features = model.features(x).half()
            if not features.isfinite().all():
                raise RunError(
                    f"features of {prepared.paths[batch[0]]} and after exceed half precision. "
                    "Use frozen.feature_views=online"
                )
            if array is None:
                array = np.lib.format.open_memmap(
                    tmp_dir / FEATURES_FILE, mode="w+", dtype=np.float16, shape=(len(rows), *features.shape[1:])
                )
                _reserve_disk(tmp_dir / FEATURES_FILE)
            array[done : done + len(batch)] = features.cpu().numpy()
            done += len(batch)
            advance(len(batch))
    assert array is not None
    array.flush()
    del array
    commit(folder, key, {"images": prepared.pixels_digest, "view": view})
    return FeatureShard.open(folder)


def _reserve_disk(path: Path) -> None:
    """Takes the disk that a file's length stands for: on a full one, writing into its memory would end the process.

    Raises:
        OSError: there is not so much.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
