"""How much there is to multiply in stage 1, with the backbone run every epoch and with its features stored.

Products and convolutions are counted, and nothing is run. Their ratio is what stored features can gain at most: the
head is trained either way.
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
    """Of stage 1 in one or more chains.

    Attributes:
        passes: images through the backbone.
        operations: floating-point operations.
    """

    passes: int
    operations: float


def compare(params: Params, chains: Sequence[dict[str, np.ndarray]], epochs: int, views: int) -> tuple[Work, Work]:
    """The backbone run every epoch, and features stored in `views` views that all chains share.

    Args:
        params: network and passes an epoch.
        chains: rows of each by part, as `PreparedDataset.indices` gives them.
        epochs: of each chain.
        views: 1 to 8.
    """
    backbone, scored, trained = _an_image(params)
    train = epochs * params.frozen.repeats_per_epoch * sum(len(rows["train"]) for rows in chains)
    val = epochs * sum(len(rows["val"]) for rows in chains)
    by_view = zip(*(feature_cache.required_indices(rows, views) for rows in chains), strict=True)
    once = sum(len(np.unique(np.concatenate(rows))) for rows in by_view)
    head = train * trained + val * scored
    return Work(train + val, (train + val) * backbone + head), Work(once, once * backbone + head)


def _an_image(params: Params) -> tuple[int, int, int]:
    """Operations on one image: of the backbone, of the head that scores it, of the head that is trained on it."""
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
