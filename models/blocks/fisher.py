"""Fisher information of a network's weights."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


def _negative_log_probability(logits: Tensor, label: Tensor) -> Tensor:
    """Return the negative log-probability of a label, a scalar.

    The label is a class, a class per voxel, or independent findings (0 or 1). For voxels, the mean is returned instead
    of the sum. This changes the Fisher information only by a factor, and `fishmask` uses only the order of the values.
    """
    if logits.ndim == label.ndim + 1:
        return nn.functional.cross_entropy(logits, label.long())
    return nn.functional.binary_cross_entropy_with_logits(logits, label.float(), reduction="sum")


def diagonal_fisher(model: nn.Module, tensors: Sequence[Tensor], examples: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Compute the diagonal of the empirical Fisher information of frozen tensors.

    Args:
        model: maps images or volumes to logits. The function sets eval mode, to exclude dropout and batch statistics.
        tensors: frozen tensors of the model. They remain frozen and without gradient.
        examples: pairs of one image (1, 3, H, W) and its label (1,) or findings (1, K), or pairs of one volume
            (1, C, X, Y, Z) and its mask (1, X, Y, Z). A batch must have one example, because gradients are squared per
            example.

    Returns:
        Fisher information (total,) of all entries of the flattened and concatenated tensors.
    """
    model.eval()
    device = tensors[0].device
    sums, count = [torch.zeros_like(tensor) for tensor in tensors], 0
    for tensor in tensors:
        tensor.requires_grad_(True)
    for image, label in examples:
        loss = _negative_log_probability(model(image.to(device)).float(), label.to(device))
        for total, gradient in zip(sums, torch.autograd.grad(loss, tensors, allow_unused=True), strict=True):
            if gradient is not None:
                total += gradient.square()
        count += 1
    for tensor in tensors:
        tensor.requires_grad_(False)
    return torch.cat([total.flatten() for total in sums]) / max(1, count)
