"""Number of operations of stage 1, without and with stored features.

Without stored features, the backbone runs in every epoch. Matrix products and convolutions are counted on the meta
device, without computing anything. The ratio of the two numbers is the largest possible speedup by stored features. It
is limited because the head is trained in both cases.
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
        views: number of stored dihedral views of each training image, 1 to 8.

    Returns:
        Work without stored features, where the backbone runs in every epoch, and work with stored features.
    """
    backbone, scored, trained = _per_image(params)
    train = epochs * params.frozen.repeats_per_epoch * sum(len(rows["train"]) for rows in folds)
    val = epochs * sum(len(rows["val"]) for rows in folds)
    by_view = zip(*(feature_cache.required_indices(rows, views) for rows in folds), strict=True)
    once = sum(len(np.unique(np.concatenate(rows))) for rows in by_view)
    head = train * trained + val * scored
    return Work(train + val, (train + val) * backbone + head), Work(once, once * backbone + head)


def _per_image(params: Params) -> tuple[int, int, int]:
    """Return the operations per image of the backbone, of the head in validation, and of the head in training."""
    model = classifier.build(params, 2, load_weights=False).to("meta")
    images = torch.empty(2, 3, params.data.image_size, params.data.image_size, device="meta")
    with torch.no_grad():
        read, backbone = _counted(lambda: model.features(images))
        _, scored = _counted(lambda: model.head(read))
    _, trained = _counted(lambda: model.head(read).sum().backward())
    return backbone // 2, scored // 2, trained // 2


def _counted(call: Any) -> tuple[Any, int]:
    with FlopCounterMode(display=False) as counter:
        result = call()
    return result, counter.get_total_flops()
