"""Training of several findings: weighted binary cross-entropy, scored by the metrics of each epoch."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medtune.config.schema import Params
from medtune.config.training import TrainingParams
from medtune.data.manifest import PreparedDataset
from medtune.models.classifier import build
from medtune.tasks.base import Move
from medtune.tasks.multilabel.metrics import score

__all__ = ["BinaryCrossEntropy", "build", "class_weights", "n_outputs", "objective"]
# Largest weight of an image that shows a finding against one that does not, and the reverse: of a finding in one
# image of a thousand, the few batches that hold it would otherwise decide where the network goes.
MAX_RATIO = 20.0


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Binary cross-entropy of logits (B, findings) and targets (B, findings), averaged over the findings.

    Attributes:
        weights: (2, findings) weight of images without and with each finding; None for equal weights.
        label_smoothing: 0..1.
    """

    weights: Tensor | None = None
    label_smoothing: float = 0.0

    def averaged_terms(self, n_outputs: int) -> int:
        """Number of independent terms that the loss averages over: one per finding."""
        return n_outputs

    def to(self, device: Any) -> "BinaryCrossEntropy":
        """Objective with its weights on `device`."""
        return self if self.weights is None else replace(self, weights=self.weights.to(device))

    def augment(self, target: Tensor, move: Move) -> Tensor:
        """Targets as they are: a moved image keeps its findings."""
        return target

    def total(self, target: Tensor) -> float:
        """Number of images: weights are 1 on average over the training images."""
        return float(len(target))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Weighted binary cross-entropy () summed over the batch."""
        return self._losses(output, target, self.label_smoothing).sum()

    def summarize(self, output: Tensor, target: Tensor) -> Tensor:
        """The logits: AUROC needs every one of them."""
        return output

    def score(self, summary: Tensor, target: Tensor) -> dict[str, float]:
        """Weighted mean without smoothing, and the metrics of each epoch."""
        loss = float(self._losses(summary, target, 0.0).mean())
        return {"loss": loss, **score(target.cpu().numpy(), summary.sigmoid().cpu().numpy())}

    def _losses(self, output: Tensor, target: Tensor, smoothing: float) -> Tensor:
        """(B,) of each image."""
        expected = target.to(output.dtype)
        weights = None
        if self.weights is not None:
            weights = torch.where(target > 0, self.weights[1], self.weights[0]).to(output.dtype)
        smoothed = expected * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(output, smoothed, weight=weights, reduction="none").mean(1)


def n_outputs(prepared: PreparedDataset) -> int:
    """Number of findings."""
    return len(prepared.classes)


def objective(
    params: Params, section: TrainingParams, prepared: PreparedDataset, train: np.ndarray
) -> BinaryCrossEntropy:
    """Binary cross-entropy weighted as `class_weights` asks; `train`: rows of the training images."""
    weights = class_weights(section.class_weights, prepared.classes, np.asarray(prepared.targets[train]))
    return BinaryCrossEntropy(weights, section.label_smoothing)


def class_weights(setting: str | dict[str, float], classes: tuple[str, ...], targets: np.ndarray) -> Tensor | None:
    """Weights (2, findings) of images without and with each finding, of mean 1 over the training images.

    Args:
        setting: `none` (None comes back), `auto` (inverse frequency, at most 20 to 1), or a finding's weight of the
            images that show it against those that do not, 1 where it is not named.
        classes: findings.
        targets: (n, findings) of the training images.
    """
    if setting == "none":
        return None
    shown = targets.sum(0, dtype=np.float64)
    others = len(targets) - shown
    if setting == "auto":
        ratio = np.divide(others, shown, out=np.ones(len(classes)), where=(shown > 0) & (others > 0))
        ratio = np.clip(ratio, 1 / MAX_RATIO, MAX_RATIO)
    else:
        assert isinstance(setting, dict)
        ratio = np.array([setting.get(name, 1.0) for name in classes])
    without = len(targets) / (others + ratio * shown)
    return torch.tensor(np.stack([without, ratio * without]), dtype=torch.float32)
