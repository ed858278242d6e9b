"""Number of operations of stage 1, without and with stored features.

Without stored features, the backbone runs in every epoch. Matrix products and convolutions are counted on the meta
device, without computing anything. The ratio of the two numbers is the largest possible speedup by stored features. The
head is trained in both cases, which limits the ratio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from medtune.config.schema import Params
from medtune.models import classifier
from medtune.training import feature_cache


@dataclass(frozen=True)
class Work:
    """Work of stage 1 for one or more folds.

    Attributes:
        passes: number of images that the backbone processes; an image counts once per epoch or view.
        operations: floating-point operations.
    """

    passes: int
    operations: float


def compare(params: Params, folds: Sequence[dict[str, np.ndarray]], epochs: int, views: int) -> tuple[Work, Work]:
    """Count the work of all folds without stored features, and with stored features that the folds share.

    Args:
        params: network and repeats per epoch.
        folds: for each fold, image indices by split (`train`, `val`), from `PreparedDataset.indices`.
        epochs: epochs per fold.
        views: number of stored views (flips and quarter turns) of each training image, 1 to 8.

    Returns:
        Work without stored features, where the backbone runs in every epoch, and work with stored features.
    """
    backbone, head_forward, head_training = _per_image(params)
    train_passes = epochs * params.frozen.repeats_per_epoch * sum(len(fold["train"]) for fold in folds)
    val_passes = epochs * sum(len(fold["val"]) for fold in folds)
    by_view = zip(*(feature_cache.required_indices(fold, views) for fold in folds), strict=True)
    stored_passes = sum(len(np.unique(np.concatenate(indices))) for indices in by_view)
    head = train_passes * head_training + val_passes * head_forward
    online = Work(train_passes + val_passes, (train_passes + val_passes) * backbone + head)
    return online, Work(stored_passes, stored_passes * backbone + head)


def _per_image(params: Params) -> tuple[int, int, int]:
    """Return the operations per image of the backbone, of the head in validation, and of the head in training."""
    model = classifier.build(params, 2, load_weights=False).to("meta")
    images = torch.empty(2, 3, params.data.image_size, params.data.image_size, device="meta")
    with torch.no_grad():
        features, backbone = _count_operations(lambda: model.features(images))
        _, head_forward = _count_operations(lambda: model.head(features))
    _, head_training = _count_operations(lambda: model.head(features).sum().backward())
    # The batch has two images.
    return backbone // 2, head_forward // 2, head_training // 2


def _count_operations(call: Any) -> tuple[Any, int]:
    """Return the result of a call and the number of its floating-point operations."""
    with FlopCounterMode(display=False) as counter:
        result = call()
    return result, counter.get_total_flops()
