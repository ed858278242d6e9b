"""One logit per patch token, trained with binary cross-entropy against the fraction of the mask in the patch."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medtune.config.schema import Params
from medtune.config.training import TrainingParams
from medtune.data.manifest import PreparedDataset
from medtune.models import classifier
from medtune.tasks.base import SpatialTransform


def layout(prepared: PreparedDataset) -> int:
    """Return the number of patches."""
    return (prepared.images.shape[1] // 16) ** 2


def build(params: Params, layout: int, load_weights: bool = True) -> classifier.Classifier:
    """Build the backbone with a linear layer on each token instead of the head in params."""
    model = classifier.build(params, layout, load_weights)
    torch.manual_seed(params.seed)
    channels = model.backbone.num_features
    model.head, model.feature_kind = (
        nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, 1), nn.Flatten()),
        "tokens",
    )
    return model.eval()


def shares(mask: Tensor, n_outputs: int) -> Tensor:
    """Compute the fraction (B, n_outputs) of each patch that the mask (B, H, W) covers."""
    return F.adaptive_avg_pool2d(mask[:, None].float(), round(n_outputs**0.5)).flatten(1)


class Objective:
    """Binary cross-entropy with soft targets."""

    def to(self, device: Any) -> "Objective":
        return self

    def averaged_terms(self, n_outputs: int) -> int:
        return 1

    def augment(self, target: Tensor, move: SpatialTransform) -> Tensor:
        return move(target[:, None])[:, 0]

    def total(self, target: Tensor) -> float:
        return float(len(target))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self.summarize(output, target)[:, 0].sum()

    def summarize(self, output: Tensor, target: Tensor) -> Tensor:
        expected = shares(target, output.shape[1])
        loss = F.binary_cross_entropy_with_logits(output, expected, reduction="none").mean(1)
        return torch.stack([loss, (output.sigmoid() - expected).abs().mean(1)], dim=1)

    def score(self, summary: Tensor, target: Tensor) -> dict[str, float]:
        return {"loss": float(summary[:, 0].mean()), "mae": float(summary[:, 1].mean())}


def objective(params: Params, section: TrainingParams, prepared: PreparedDataset, train: np.ndarray) -> Objective:
    """Build the objective, which does not depend on params."""
    return Objective()
