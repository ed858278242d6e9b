"""Features of the frozen backbone for windows of volumes, stored once in half precision.

A window is a box of voxels that the network reads at once. Training uses a fixed set of random windows of each volume.
Validation uses the windows of a grid that covers the volume. All folds, seeds and learning rates use the same windows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.data.volume_store import IMAGES_FILE, MASKS_FILE
from medtune.models.weights import state_sha256
from medtune.runtime.artifact import read_result
from medtune.runtime.provenance import package_versions
from medtune.runtime.source_hash import source_fingerprint
from medtune.serving.volumes.windows import Patch
from medtune.tasks.segmentation import Params as TaskParams
from medtune.tasks.segmentation.patch_positions import PatchPositions, read_box
from medtune.tasks.segmentation.windowed import count_windows, window_corner
from medtune.training.feature_cache import FeatureSet, fill_store
from medtune.training.feature_store import FeatureStore
from medtune.training.schedule import stream_seed
from medtune.training.transfer import to_device


@dataclass(frozen=True)
class Window:
    """Position of a window.

    Attributes:
        row: row of the volume.
        start: first voxel, possibly negative (see `PatchPositions`).
        mirrored: mirrored axes, 0..2.
    """

    row: int
    start: Patch
    mirrored: tuple[int, ...] = ()


class Windows:
    """Windows of all prepared volumes: random windows for training, and windows of a grid for validation."""

    def __init__(self, prepared: PreparedDataset, patch: Patch, params: TaskParams, device: torch.device) -> None:
        """Open the prepared volumes.

        Args:
            prepared: prepared volumes.
            patch: voxels of a window per axis.
            params: params of the task, with the share of windows on a label, the mirrored axes and the overlap.
            device: torch device of the windows.
        """
        self.volumes, self.paths, self.patch, self.params = prepared.volumes, prepared.paths, patch, params
        self.device = device
        self.positions = PatchPositions(prepared.volumes, patch, len(prepared.classes))

    @cached_property
    def firsts(self) -> npt.NDArray[np.int64]:
        """(n + 1,) number of the first grid window of each volume. The last entry is the count of all grid windows."""
        counts = [count_windows(entry.shape, self.patch, self.params.overlap) for entry in self.volumes.entries]
        return np.cumsum([0, *counts])

    def grid(self, rows: Sequence[int]) -> npt.NDArray[np.int64]:
        """Return the numbers of the grid windows of the volumes `rows`. The windows of all volumes are numbered."""
        numbers = [np.arange(self.firsts[row], self.firsts[row + 1]) for row in rows]
        return np.concatenate([np.empty(0, np.int64), *numbers])

    def on_grid(self, number: int) -> Window:
        """Return the grid window with a number from `grid`."""
        row = int(np.searchsorted(self.firsts, number, side="right")) - 1
        shape = self.volumes.entries[row].shape
        corner = window_corner(shape, self.patch, self.params.overlap, number - int(self.firsts[row]))
        before = (max(0, side - length) // 2 for length, side in zip(shape, self.patch, strict=True))
        x, y, z = (start - offset for start, offset in zip(corner, before, strict=True))
        return Window(row, (x, y, z))

    def random(self, row: int, view: int) -> Window:
        """Return a random window of a volume. It depends only on the volume's path and on `view`, a window number."""
        path, share = self.paths[row], self.params.foreground_share
        of_volume = np.random.default_rng(stream_seed("windows", path))
        phase, turn = of_volume.random(), int(of_volume.integers(1 << 16))
        draw = np.random.default_rng(stream_seed("window", path, view))
        place, mirrored = draw.random(4).tolist(), draw.random(3) < 0.5
        # Windows on a label have equal distances in the sequence of views, so their share is exact.
        before, after = math.floor(view * share + phase), math.floor((view + 1) * share + phase)
        start = self.positions.on_label(row, turn + before, place[3]) if after > before else None
        axes = sorted("xyz".index(axis) for axis in self.params.augment.mirror)
        return Window(row, start or self.positions.anywhere(row, place[:3]), tuple(a for a in axes if mirrored[a]))

    def image(self, window: Window) -> Tensor:
        """Return the voxels of a window (C, *patch), float32, on the device."""
        box = torch.from_numpy(read_box(self.volumes.image(window.row), window.start, self.patch))
        return to_device(box, self.device).float().flip([axis + 1 for axis in window.mirrored])

    def mask(self, window: Window) -> Tensor:
        """Return the mask of a window (*patch), uint8, on the device."""
        box = torch.from_numpy(read_box(self.volumes.mask(window.row), window.start, self.patch))
        return to_device(box, self.device).flip(window.mirrored)


@torch.inference_mode()
def level_shapes(model: Any, channels: int, device: torch.device) -> list[tuple[int, ...]]:
    """Return the shape (c, h, w, n) of each level of features of one window. A level is an output of the backbone."""
    window = torch.zeros(1, channels, *model.patch, device=device)
    return [tuple(level.shape[1:]) for level in model.levels(window)]


def required_windows(windows: Windows, splits: dict[str, npt.NDArray[Any]], views: int) -> tuple[list[Any], Any]:
    """Return the rows of the training volumes for each view, and the grid windows of the validation volumes."""
    return [splits["train"]] * views, windows.grid(splits["val"].tolist())


def store_levels(
    model: Any,
    windows: Windows,
    prepared: PreparedDataset,
    params: Params,
    required: tuple[list[Any], Any],
    cache: Path,
) -> tuple[FeatureStore, FeatureStore]:
    """Compute the features that are missing in the cache.

    Args:
        model: network with `levels` on the device of `windows`, in eval mode.
        windows: the windows.
        prepared: the prepared volumes.
        params: all params.
        required: from `required_windows`.
        cache: folder of the cache.

    Returns:
        The flattened features of the training windows, by volume and view, and of the grid windows, by number.
    """
    task, files = windows.params, read_result(prepared.folder)["files"]
    identity = {
        "images": [files[IMAGES_FILE], files[MASKS_FILE], [entry.shape for entry in windows.volumes.entries]],
        "paths": windows.paths,
        "backbone": state_sha256(model.backbone),
        "model": params.model.backbone,
        "args": params.model.backbone_args,
        "head": {key: value for key, value in params.section("model")["head"].items() if key != "width"},
        "normalization": [model.scale.tolist(), model.shift.tolist()],
        "patch": windows.patch,
        # The module of the head imports the slice network and its levels.
        "source": source_fingerprint(
            "medtune.tasks.segmentation.window_features", f"medtune.models.heads.{params.model.head.kind}"
        ),
        "versions": package_versions("torch", "timm", "numpy"),
        "device": windows.device.type,
    }

    def features(chosen: Sequence[Window]) -> Tensor:
        levels = model.levels(torch.stack([windows.image(window) for window in chosen]))
        return torch.cat([level.flatten(1) for level in levels], dim=1)

    # A window has many slices. With one window per batch, features do not depend on other windows in the batch.
    random = FeatureSet(
        {**identity, "share": task.foreground_share, "mirror": task.augment.mirror},
        lambda rows, view: features([windows.random(int(row), view) for row in rows]),
        lambda row: prepared.paths[row],
        batch=1,
        units="windows",
        label="features of training",
    )
    grid = FeatureSet(
        {**identity, "overlap": task.overlap},
        lambda numbers, _: features([windows.on_grid(int(number)) for number in numbers]),
        lambda number: prepared.paths[windows.on_grid(number).row],
        batch=1,
        units="windows",
        label="features of validation",
    )
    train, val = required
    stored = fill_store(random, train, len(windows.paths), cache)
    return stored, fill_store(grid, [val], int(windows.firsts[-1]), cache)
