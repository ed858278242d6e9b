"""Fisher information of a network's weights."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


def _negative_log_probability(logits: Tensor, label: Tensor) -> Tensor:
    """Return the scalar loss for a class, for the classes of voxels, or for independently present findings.

    The loss of voxels is their mean instead of their sum. This multiplies the Fisher information by a constant, and
    `fishmask` uses only its ranking.
    """
    if logits.ndim == label.ndim + 1:
        return nn.functional.cross_entropy(logits, label.long())
    return nn.functional.binary_cross_entropy_with_logits(logits, label.float(), reduction="sum")


def diagonal_fisher(model: nn.Module, tensors: Sequence[Tensor], examples: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Compute the diagonal of the empirical Fisher information of frozen tensors.

    Args:
        model: maps images or volumes to logits. It is put in eval mode, to exclude dropout and batch statistics.
        tensors: frozen tensors of the model. They remain frozen and without gradient.
        examples: pairs of one image (1, 3, H, W) and its label (1,) or findings (1, K), or pairs of one volume
            (1, C, X, Y, Z) and its mask (1, X, Y, Z). Batches of one are required, because the square of a sum of
            gradients is not the sum of their squares.

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
