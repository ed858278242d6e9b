"""Update of the singular values of a weight."""

import torch
from torch import Tensor, nn


class SpectralShift(nn.Module):
    """Weight U diag(relu(s + delta)) V^T, where U diag(s) V^T is the SVD of the frozen weight. delta is trained."""

    left: Tensor
    values: Tensor
    right: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        left, values, right = torch.linalg.svd(weight.detach().flatten(1).double(), full_matrices=False)
        for name, tensor in (("left", left), ("values", values), ("right", right)):
            self.register_buffer(name, tensor.to(weight.dtype))
        self.delta = nn.Parameter(torch.zeros_like(self.values))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the updated weight in the shape of `weight`."""
        return ((self.left * torch.relu(self.values + self.delta)) @ self.right).reshape(weight.shape)
