"""Training of a classifier: cross-entropy with class weights, scored by the metrics of each epoch."""

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
from medtune.tasks.classification.metrics import score

__all__ = ["CrossEntropy", "build", "class_weights", "n_outputs", "objective"]


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of logits (B, classes) and class indices (B,).

    Attributes:
        weights: (classes,) or None for equal weights.
        label_smoothing: 0..1.
    """

    weights: Tensor | None = None
    label_smoothing: float = 0.0

    def to(self, device: Any) -> "CrossEntropy":
        """Objective with its weights on `device`."""
        return self if self.weights is None else replace(self, weights=self.weights.to(device))

    def averaged_terms(self, n_outputs: int) -> int:
        """Number of independent terms that the loss averages over: cross-entropy is one term."""
        return 1

    def augment(self, target: Tensor, move: Move) -> Tensor:
        """Labels as they are: a moved image keeps its class."""
        return target

    def total(self, target: Tensor) -> float:
        """Sum of the labels' weights; without weights their number."""
        return float(len(target) if self.weights is None else self.weights.cpu()[target].sum())

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Weighted cross-entropy () summed over the batch."""
        weights = None if self.weights is None else self.weights.to(output.dtype)
        return F.cross_entropy(output, target, weight=weights, label_smoothing=self.label_smoothing, reduction="sum")

    def summarize(self, output: Tensor, target: Tensor) -> Tensor:
        """The logits: AUROC needs every one of them."""
        return output

    def score(self, summary: Tensor, target: Tensor) -> dict[str, float]:
        """Weighted mean cross-entropy without smoothing, and the metrics of each epoch."""
        loss = float(F.cross_entropy(summary, target, weight=self.weights))
        return {"loss": loss, **score(target.cpu().numpy(), summary.softmax(1).cpu().numpy())}


def n_outputs(prepared: PreparedDataset) -> int:
    """Number of classes."""
    return len(prepared.classes)


def objective(params: Params, section: TrainingParams, prepared: PreparedDataset, train: np.ndarray) -> CrossEntropy:
    """Cross-entropy weighted as `class_weights` asks; `train`: rows of the training images."""
    weights = class_weights(section.class_weights, prepared.classes, prepared.labels[train])
    return CrossEntropy(weights, section.label_smoothing)


def class_weights(setting: str | dict[str, float], classes: tuple[str, ...], labels: np.ndarray) -> Tensor | None:
    """Weight of each class in the loss, mean 1 over the training images; None for equal weights.

    Args:
        setting: `none`, `auto` (inverse frequency; a class without images weighs 0) or class -> weight.
        classes: class names.
        labels: (n,) labels of the training images.
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
