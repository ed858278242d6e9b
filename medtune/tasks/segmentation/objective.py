"""Loss of a segmentation network, soft Dice plus cross-entropy, and scores of whole validation volumes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medtune.config.schema import Params
from medtune.config.training import TrainingParams
from medtune.data.manifest import PreparedDataset
from medtune.data.volume_store import VolumeStore
from medtune.tasks.base import SpatialTransform
from medtune.tasks.segmentation.case_metrics import NAN, LabelMetrics
from medtune.tasks.segmentation.metrics import score
from medtune.tasks.segmentation.windowed import VolumeLogits
from medtune.training.replicas import sum_with_gradient

# Mask value of voxels that the loss ignores. If several processes compute the same patch, only one of them counts it.
IGNORED = 255
# The term s of the Dice loss, as in nnU-Net. A label that is neither in the masks nor predicted has the ratio 1.
SMOOTH = 1e-5


@dataclass(frozen=True)
class DiceCrossEntropy:
    """Soft Dice loss plus cross-entropy with equal weights, as in nnU-Net (Isensee et al. 2021).

    The loss of a batch is the mean cross-entropy of its voxels, plus 1 minus the mean over the labels of

        (2 sum_i p_i g_i + s) / (sum_i p_i + sum_i g_i + s)

    (Milletari et al. 2016, arXiv 1606.04797, section 3, without the squares). The sums run over all voxels i of the
    batch. p is the probability of the label. g is 1 for voxels of the label, and otherwise 0. The background is left
    out.

    Attributes:
        volumes: prepared volumes, for the masks of validation.
        labels: names of the labels, without the background.
    """

    volumes: VolumeStore
    labels: tuple[str, ...]

    def to(self, device: Any) -> "DiceCrossEntropy":
        """Return the objective itself, because it has no tensors."""
        return self

    def averaged_terms(self, n_outputs: int) -> int:
        """Return 1, because the loss of a patch is a single term."""
        return 1

    def augment(self, target: Tensor, transform: SpatialTransform) -> Tensor:
        """Return the masks (B, X, Y, Z) of the patches. `target` has the rows (B,) of their volumes."""
        return transform(target)

    def total(self, target: Tensor) -> float:
        """Return the number of patches."""
        return float(len(target))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of a batch, multiplied by its number of patches.

        The training loop divides the sum of a step by `total`. A step with several batches then has their mean loss. In
        distributed training, the Dice sums run over all processes, so the loss does not depend on their number.

        Args:
            output: logits (B, K, X, Y, Z), float32.
            target: masks (B, X, Y, Z), uint8.

        Returns:
            The loss, a scalar tensor.
        """
        masks, counted = target.long(), target != IGNORED
        entropy = F.cross_entropy(output, masks, ignore_index=IGNORED, reduction="sum")
        voxels = target[0].numel()
        overlap, predicted, truth = sum_with_gradient(_soft_sums(output.softmax(1), masks, counted))
        dice = (2 * overlap + SMOOTH) / (predicted + truth + SMOOTH)
        loss: Tensor = entropy / voxels + (1 - dice.mean()) * len(target)
        return loss

    def summarize(self, output: Tensor | VolumeLogits, target: Tensor) -> Tensor:
        """Return the sums of validation volumes, on the prepared grid.

        Args:
            output: logits (B, K, X, Y, Z) of whole volumes of the same shape, float32, or slabs of one volume.
            target: rows (B,) of the volumes.

        Returns:
            (B, 6 L + 2) float32. First, for L labels each: soft intersection, soft prediction, truth, intersection,
            prediction and truth. Then the summed cross-entropy, and the number of voxels.
        """
        slabs: list[Iterable[tuple[int, Tensor]]]
        slabs = [output] if isinstance(output, VolumeLogits) else [[(0, logits)] for logits in output]
        rows = target.tolist()
        sums = [_volume_sums(volume, self.volumes.mask(row)) for volume, row in zip(slabs, rows, strict=True)]
        return torch.stack(sums).float()

    def score(self, summary: Tensor, target: Tensor) -> dict[str, float]:
        """Compute the validation scores.

        Args:
            summary: (n, 6 L + 2), results of `summarize`.
            target: rows (n,) of the volumes.

        Returns:
            `loss`: mean cross-entropy over volumes, plus 1 minus the soft Dice over all volumes as one batch. `dice`:
            mean Dice over volumes and then over the labels of the truth, as in the evaluation; NaN without labels.
        """
        sums = summary.double().cpu()
        labels = sums[:, :-2].view(len(sums), 2, 3, len(self.labels))
        overlap, predicted, truth = labels[:, 0].sum(0)
        dice = (2 * overlap + SMOOTH) / (predicted + truth + SMOOTH)
        entropy = (sums[:, -2] / sums[:, -1]).mean()
        cases = [
            [_case(name, *counts) for name, counts in zip(self.labels, volume.T.tolist(), strict=True)]
            for volume in labels[:, 1]
        ]
        return {"loss": float(entropy + 1 - dice.mean()), **score(cases)}


def objective(
    params: Params, section: TrainingParams, prepared: PreparedDataset, train: np.ndarray
) -> DiceCrossEntropy:
    """Build the objective.

    Args:
        params: all params, not used.
        section: params of the stage, not used.
        prepared: prepared volumes.
        train: rows of the training volumes, not used.

    Returns:
        The objective.
    """
    return DiceCrossEntropy(prepared.volumes, prepared.classes)


def _soft_sums(probabilities: Tensor, masks: Tensor, counted: Tensor) -> Tensor:
    """Sum over the voxels where `counted` is true, for each of L labels.

    Args:
        probabilities: (B, K, X, Y, Z), background first.
        masks: (B, X, Y, Z) integers.
        counted: (B, X, Y, Z), boolean.

    Returns:
        (3, L): sums of the probabilities in the label, of all probabilities, and of the label's voxels.
    """
    n_labels = probabilities.shape[1] - 1
    index = torch.arange(1, n_labels + 1, device=masks.device).view(-1, 1, 1, 1)
    inside = masks[:, None] == index
    foreground = probabilities[:, 1:] * counted[:, None]
    axes = (0, 2, 3, 4)
    return torch.stack(
        [(foreground * inside).sum(axes), foreground.sum(axes), (inside & counted[:, None]).sum(axes).float()]
    )


def _volume_sums(slabs: Iterable[tuple[int, Tensor]], mask: np.ndarray) -> Tensor:
    """Sum over the voxels of one volume.

    Args:
        slabs: first plane and logits (K, planes, Y, Z) of each slab.
        mask: (X, Y, Z), uint8.

    Returns:
        (6 L + 2,) as in `DiceCrossEntropy.summarize`, float64.
    """
    parts = []
    for first, logits in slabs:
        planes = np.array(mask[first : first + logits.shape[1]])
        parts.append(_slab_sums(logits, torch.from_numpy(planes).to(logits.device)))
    return torch.stack(parts).sum(0)


def _slab_sums(logits: Tensor, mask: Tensor) -> Tensor:
    """Sum over the voxels of one slab. Only one label at a time is computed, which saves memory.

    Args:
        logits: (K, planes, Y, Z).
        mask: (planes, Y, Z), uint8.

    Returns:
        (6 L + 2,) as in `_volume_sums`.
    """
    scale, predicted = logits.logsumexp(0), logits.argmax(0)
    soft, hard = [], []
    for label in range(1, len(logits)):
        in_truth, in_prediction = mask == label, predicted == label
        probability = (logits[label] - scale).exp()
        soft.append(torch.stack([probability[in_truth].sum(), probability.sum(), in_truth.sum().float()]))
        hard.append(torch.stack([(in_truth & in_prediction).sum(), in_prediction.sum(), in_truth.sum()]))
    entropy = (scale - logits.gather(0, mask[None].long())[0]).sum()
    sums = (torch.stack(soft, 1).flatten(), torch.stack(hard, 1).flatten(), entropy[None])
    return torch.cat([*(part.double() for part in sums), entropy.new_tensor([mask.numel()], dtype=torch.float64)])


def _case(label: str, overlap: float, predicted: float, truth: float) -> LabelMetrics:
    """Return the metrics of a label in one volume, with sizes in voxels instead of ml."""
    dice = 2 * overlap / (predicted + truth) if predicted or truth else 1.0
    return LabelMetrics(label, truth, predicted, dice, NAN, NAN, NAN, NAN)
