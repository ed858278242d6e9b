"""Cache of the features of a frozen backbone: memory-mapped, content-addressed, in half precision.

Each dihedral view (flip or quarter turn of the images) has a folder. The name of the folder is a digest of everything
that the features depend on. All folds, training fractions, heads and later runs share the folder. Each run computes and
adds only the missing images. Features are written batch by batch, so that memory does not grow with the data set.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from torch import Tensor

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

BATCH = 32  # largest number of images in a forward pass


def required_indices(splits: Mapping[str, npt.NDArray[Any]], views: int, refit: bool = False) -> list[npt.NDArray[Any]]:
    """List the images that a fold needs in each view: training images in all views, validation images in view 0.

    Args:
        splits: image indices by split, from `PreparedDataset.indices`.
        views: number of views, 1 to 8.
        refit: True if the final head is also trained on the validation images.

    Returns:
        Image indices per view.
    """
    both = np.union1d(splits["train"], splits["val"])
    return [both, *[both if refit else splits["train"]] * (views - 1)]


def store_bytes(indices_by_view: Sequence[npt.NDArray[Any]], tokens: int, channels: int) -> int:
    """Return the disk space in bytes for features (tokens, channels) of images, whose indices are listed per view."""
    return sum(map(len, indices_by_view)) * tokens * channels * 2


def compute_features(
    model: Classifier,
    prepared: PreparedDataset,
    params: Params,
    indices_by_view: Sequence[npt.NDArray[Any]],
    cache: Path,
    device: str,
) -> FeatureStore:
    """Compute the features that are missing in the cache.

    Args:
        model: network on `device`, in eval mode. Its backbone and feature kind determine the features.
        prepared: the prepared data set.
        params: all params; name and arguments of the backbone are read.
        indices_by_view: image indices per view, for views 0 to at most 7.
        cache: folder of the cache.
        device: torch device of the backbone.

    Returns:
        A store with the features of `indices_by_view`.
    """
    identity = {
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

    def compute(rows: npt.NDArray[Any], view: int) -> Tensor:
        images = torch.from_numpy(prepared.images[rows]).to(device)
        x = dihedral(model.preprocess(images), torch.full((len(images),), view))
        return model.features(x)

    return fill_store(
        FeatureSet(identity, compute, lambda row: prepared.paths[row], BATCH),
        indices_by_view,
        len(prepared.labels),
        cache,
    )


@dataclass(frozen=True)
class FeatureSet:
    """Features of one frozen backbone, in one or more views.

    A row is the number of an image, or of a window of a volume.

    Attributes:
        identity: everything that the features depend on, except the view, as JSON values. `images` is the digest of
            the data.
        compute: maps rows and a view to their features (B, ...) on any device.
        name: name of a row, for messages.
        batch: largest B.
        units: plural name of the rows, for progress lines.
        label: name of the features in progress lines.
    """

    identity: Mapping[str, Any]
    compute: Callable[[npt.NDArray[Any], int], Tensor]
    name: Callable[[int], str]
    batch: int
    units: str = "images"
    label: str = "features"


@torch.inference_mode()
def fill_store(
    features: FeatureSet, indices_by_view: Sequence[npt.NDArray[Any]], n_rows: int, cache: Path
) -> FeatureStore:
    """Compute the features that are missing in the cache.

    Args:
        features: identity and computation of the features.
        indices_by_view: rows per view.
        n_rows: number of all rows, also of those that are not requested.
        cache: folder of the cache.

    Returns:
        A store with the features of `indices_by_view`.
    """
    stored, new = [], 0
    for view, rows in enumerate(indices_by_view):
        key = digest({**features.identity, "view": view})
        folder = cache / "features" / key[:24]
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            shards, new_shard = load_shards(folder, key)
            missing = (
                np.setdiff1d(rows, np.concatenate([shard.indices for shard in shards])) if shards else np.unique(rows)
            )
            if len(missing):
                views = f", view {view + 1} of {len(indices_by_view)}"
                shards.append(_write_shard(features, missing, view, new_shard, key, features.label + views))
        stored.append(shards)
        new += len(missing)
    if not new and any(map(len, indices_by_view)):
        info(f"{features.label}: read from the cache ({folder.name})")
    return FeatureStore(n_rows, stored)


def _write_shard(
    features: FeatureSet, rows: npt.NDArray[Any], view: int, folder: Path, key: str, label: str
) -> FeatureShard:
    """Compute the features of `rows` in a view and publish them as a shard in `folder`."""
    tmp_dir = partial_dir(folder)
    shutil.rmtree(tmp_dir, ignore_errors=True)
    tmp_dir.mkdir(parents=True)
    np.save(tmp_dir / INDICES_FILE, rows)
    array, done = None, 0
    with progress(label, len(rows), features.units) as advance:
        # Split evenly, because CPU convolutions round differently in a last batch of fewer than 16 images.
        for batch in np.array_split(rows, -(-len(rows) // features.batch)):
            values = features.compute(batch, view).half()
            if not values.isfinite().all():
                raise RunError(
                    f"features exceed the range of fp16, first in the batch of {features.name(batch[0])}. "
                    "Set frozen.feature_views=online"
                )
            if array is None:
                array = np.lib.format.open_memmap(
                    tmp_dir / FEATURES_FILE, mode="w+", dtype=np.float16, shape=(len(rows), *values.shape[1:])
                )
                _reserve_disk(tmp_dir / FEATURES_FILE)
            array[done : done + len(batch)] = values.cpu().numpy()
            done += len(batch)
            advance(len(batch))
    assert array is not None
    array.flush()
    del array
    commit(folder, key, {"images": features.identity["images"], "view": view})
    return FeatureShard.open(folder)


def _reserve_disk(path: Path) -> None:
    """Allocate the disk space of a sparse file. Writing to a memory map on a full disk would kill the process.

    Args:
        path: a file with its final length.

    Raises:
        OSError: the disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
