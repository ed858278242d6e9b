"""1x1 convolution parallel to a k x k convolution, as an update of the center of the k x k kernel."""

import torch
from torch import Tensor, nn


class CenterTapAdapter(nn.Module):
    """Matrix (out, in) or diagonal (out,), which is trained from zero and added to the center of a kernel."""

    def __init__(self, weight: Tensor, channelwise: bool) -> None:
        super().__init__()
        out, inner = weight.shape[:2]
        self.residual = nn.Parameter(torch.zeros(out) if channelwise else torch.zeros(out, inner))
        self.middle = weight.shape[-1] // 2

    def forward(self, weight: Tensor) -> Tensor:
        """Return the updated kernel (out, in, k, k)."""
        matrix: Tensor = self.residual
        if matrix.dim() == 1:
            matrix = matrix[:, None] if weight.shape[1] == 1 else torch.diag(matrix)
        padding = self.middle
        return weight + nn.functional.pad(matrix[:, :, None, None], (padding, padding, padding, padding))
