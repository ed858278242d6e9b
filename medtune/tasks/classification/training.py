"""Training of a classifier: cross-entropy with class weights, and validation scores per epoch."""

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
from medtune.tasks.classification.metrics import score

__all__ = ["CrossEntropy", "build", "class_weights", "layout", "objective"]


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of logits (B, classes) and class indices (B,).

    Attributes:
        weights: (classes,) weights, or None for equal weights.
        label_smoothing: label smoothing, 0..1.
    """

    weights: Tensor | None = None
    label_smoothing: float = 0.0

    def to(self, device: Any) -> "CrossEntropy":
        """Return the objective with its weights on `device`."""
        return self if self.weights is None else replace(self, weights=self.weights.to(device))

    def averaged_terms(self, n_outputs: int) -> int:
        """Return 1, because cross-entropy is a single term."""
        return 1

    def augment(self, target: Tensor, transform: SpatialTransform) -> Tensor:
        """Return the labels unchanged, because augmentation does not change the class."""
        return target

    def total(self, target: Tensor) -> float:
        """Return the sum of the weights of the labels; with equal weights, this is the number of labels."""
        return float(len(target) if self.weights is None else self.weights.cpu()[target].sum())

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Compute the weighted cross-entropy, summed over the batch, as a scalar tensor."""
        weights = None if self.weights is None else self.weights.to(output.dtype)
        return F.cross_entropy(output, target, weight=weights, label_smoothing=self.label_smoothing, reduction="sum")

    def summarize(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the logits, because AUROC needs the logits of all images."""
        return output

    def score(self, summary: Tensor, target: Tensor) -> dict[str, float]:
        """Compute the weighted mean cross-entropy without label smoothing, and the per-epoch metrics."""
        loss = float(F.cross_entropy(summary, target, weight=self.weights))
        return {"loss": loss, **score(target.cpu().numpy(), summary.softmax(1).cpu().numpy())}


def layout(prepared: PreparedDataset) -> int:
    """Return the number of classes."""
    return len(prepared.classes)


def objective(params: Params, section: TrainingParams, prepared: PreparedDataset, train: np.ndarray) -> CrossEntropy:
    """Build the cross-entropy with the weights of `class_weights`; `train` are the rows of the training images."""
    weights = class_weights(section.class_weights, prepared.classes, prepared.labels[train])
    return CrossEntropy(weights, section.label_smoothing)


def class_weights(setting: str | dict[str, float], classes: tuple[str, ...], labels: np.ndarray) -> Tensor | None:
    """Compute the weight of each class in the loss.

    Args:
        setting: `none`, `auto` (inverse frequency, 0 for a class without images) or a mapping from class to weight.
        classes: class names.
        labels: (n,) labels of the training images.

    Returns:
        (classes,) float32 weights with mean 1 over the training images; None for equal weights.
    """
    if setting == "none":
        return None
    counts = np.bincount(labels, minlength=len(classes))
    if setting == "auto":
        weights = np.divide(1.0, counts, out=np.zeros(len(classes)), where=counts > 0)
    else:
        assert isinstance(setting, dict)
        weights = np.array([setting.get(name, 1.0) for name in classes])
    return torch.tensor(weights * len(labels) / (weights * counts).sum(), dtype=torch.float32)
