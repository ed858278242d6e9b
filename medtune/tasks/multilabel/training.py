"""Multilabel training: weighted binary cross-entropy, and validation scores per epoch."""

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
from medtune.tasks.base import SpatialTransform
from medtune.tasks.multilabel.metrics import score

__all__ = ["BinaryCrossEntropy", "build", "class_weights", "layout", "objective"]
# Limit of the weight ratio between images with and without a finding. Otherwise, the few batches that contain a very
# rare finding would dominate the training.
MAX_RATIO = 20.0


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Binary cross-entropy of logits (B, findings) and targets (B, findings), averaged over the findings.

    Attributes:
        weights: (2, findings) weights of images without and with each finding, or None for equal weights.
        label_smoothing: label smoothing, 0..1.
    """

    weights: Tensor | None = None
    label_smoothing: float = 0.0

    def averaged_terms(self, n_outputs: int) -> int:
        """Return the number of findings, because the loss averages over one term per finding."""
        return n_outputs

    def to(self, device: Any) -> "BinaryCrossEntropy":
        """Return the objective with its weights on `device`."""
        return self if self.weights is None else replace(self, weights=self.weights.to(device))

    def augment(self, target: Tensor, transform: SpatialTransform) -> Tensor:
        """Return the targets unchanged, because augmentation does not change the findings."""
        return target

    def total(self, target: Tensor) -> float:
        """Return the number of images, because the weights have mean 1 over the training images."""
        return float(len(target))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Compute the weighted binary cross-entropy, summed over the batch, as a scalar tensor."""
        return self._losses(output, target, self.label_smoothing).sum()

    def summarize(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the logits, because AUROC needs the logits of all images."""
        return output

    def score(self, summary: Tensor, target: Tensor) -> dict[str, float]:
        """Compute the weighted mean loss without label smoothing, and the per-epoch metrics."""
        loss = float(self._losses(summary, target, 0.0).mean())
        return {"loss": loss, **score(target.cpu().numpy(), summary.sigmoid().cpu().numpy())}

    def _losses(self, output: Tensor, target: Tensor, smoothing: float) -> Tensor:
        """Compute the loss of each image (B,)."""
        expected = target.to(output.dtype)
        weights = None
        if self.weights is not None:
            weights = torch.where(target > 0, self.weights[1], self.weights[0]).to(output.dtype)
        smoothed = expected * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(output, smoothed, weight=weights, reduction="none").mean(1)


def layout(prepared: PreparedDataset) -> int:
    """Return the number of findings."""
    return len(prepared.classes)


def objective(
    params: Params, section: TrainingParams, prepared: PreparedDataset, train: np.ndarray
) -> BinaryCrossEntropy:
    """Build the loss with the weights of `class_weights`; `train` are the rows of the training images."""
    weights = class_weights(section.class_weights, prepared.classes, np.asarray(prepared.targets[train]))
    return BinaryCrossEntropy(weights, section.label_smoothing)


def class_weights(setting: str | dict[str, float], classes: tuple[str, ...], targets: np.ndarray) -> Tensor | None:
    """Compute the weights of images without and with each finding.

    Args:
        setting: `none`, `auto` (inverse frequency, at most 20 to 1) or a mapping from finding to weight. The weight is
            that of images with the finding relative to images without it. Other findings have weight 1.
        classes: names of the findings.
        targets: (n, findings) targets of the training images.

    Returns:
        (2, findings) float32 weights with mean 1 over the training images; None for `none`.
    """
    if setting == "none":
        return None
    positives = targets.sum(0, dtype=np.float64)
    negatives = len(targets) - positives
    if setting == "auto":
        defined = (positives > 0) & (negatives > 0)
        ratio = np.divide(negatives, positives, out=np.ones(len(classes)), where=defined)
        ratio = np.clip(ratio, 1 / MAX_RATIO, MAX_RATIO)
    else:
        assert isinstance(setting, dict)
        ratio = np.array([setting.get(name, 1.0) for name in classes])
    negative_weight = len(targets) / (negatives + ratio * positives)
    return torch.tensor(np.stack([negative_weight, ratio * negative_weight]), dtype=torch.float32)
