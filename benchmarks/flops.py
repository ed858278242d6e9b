"""Operations of stage 1 with the backbone run in every epoch and with stored features.

Matrix products and convolutions are counted without computing anything. The ratio is the largest possible speedup by
stored features, because the head is trained in both cases.
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
        passes: images that go through the backbone.
        operations: floating-point operations.
    """

    passes: int
    operations: float


def compare(params: Params, folds: Sequence[dict[str, np.ndarray]], epochs: int, views: int) -> tuple[Work, Work]:
    """Count the work without and with stored features that all folds share.

    Args:
        params: network and repeats per epoch.
        folds: row indices by split of each fold, from `PreparedDataset.indices`.
        epochs: epochs per fold.
        views: stored views, 1 to 8.

    Returns:
        Work with the backbone run in every epoch, and with stored features.
    """
    backbone, scored, trained = _per_image(params)
    train = epochs * params.frozen.repeats_per_epoch * sum(len(rows["train"]) for rows in folds)
    val = epochs * sum(len(rows["val"]) for rows in folds)
    by_view = zip(*(feature_cache.required_indices(rows, views) for rows in folds), strict=True)
    once = sum(len(np.unique(np.concatenate(rows))) for rows in by_view)
    head = train * trained + val * scored
    return Work(train + val, (train + val) * backbone + head), Work(once, once * backbone + head)


def _per_image(params: Params) -> tuple[int, int, int]:
    """Count the operations per image of the backbone, of scoring with the head, and of training the head."""
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
