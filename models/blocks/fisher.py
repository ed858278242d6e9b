"""How much a network's answers depend on each of its weights."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


def _negative_log_probability(logits: Tensor, label: Tensor) -> Tensor:
    """() of a class, or of findings that are each present or not."""
    if label.ndim == 1:
        return nn.functional.cross_entropy(logits, label)
    return nn.functional.binary_cross_entropy_with_logits(logits, label.float(), reduction="sum")


def diagonal_fisher(model: nn.Module, tensors: Sequence[Tensor], examples: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """(total,) diagonal of the empirical Fisher information of `tensors`, laid end to end.

    Args:
        model: images to logits; put in eval mode, so that no draw and no batch statistic takes part.
        tensors: frozen tensors of it, left frozen and without gradient.
        examples: one image (1, 3, H, W) and its label (1,), or findings (1, K), at a time: squares do not add up over
            a batch.
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
