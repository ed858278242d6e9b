"""Parallel 1x1 convolution, implemented as an update of the center of a k x k kernel."""

import torch
from torch import Tensor, nn


class CenterTapAdapter(nn.Module):
    """Trained matrix (out, in), initially zero, that is added to the center of a kernel.

    With `channelwise`, only the diagonal of the matrix (out,) is trained.
    """

    def __init__(self, weight: Tensor, channelwise: bool) -> None:
        super().__init__()
        out, inner = weight.shape[:2]
        self.residual = nn.Parameter(torch.zeros(out) if channelwise else torch.zeros(out, inner))
        # Numbers of zeros before and after each spatial dimension, the last dimension first.
        self.padding = [size // 2 for size in reversed(weight.shape[2:]) for _ in range(2)]

    def forward(self, weight: Tensor) -> Tensor:
        """Return the updated kernel (out, in, k, k) or (out, in, k, k, k)."""
        matrix: Tensor = self.residual
        if matrix.dim() == 1:
            matrix = matrix[:, None] if weight.shape[1] == 1 else torch.diag(matrix)
        center = matrix.reshape(*matrix.shape, *[1] * (weight.dim() - 2))
        return weight + nn.functional.pad(center, self.padding)
