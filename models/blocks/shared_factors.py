"""Low-rank updates of many matrices with shared factors. Each matrix is divided into slices of C x C weights."""

import torch
from torch import Tensor, nn


class SharedFactors(nn.Module):
    """Factors that all slices share: U (C, r), initially zero, V (C, r) and, if `tucker`, a core (r, r, r)."""

    def __init__(self, channels: int, rank: int, tucker: bool) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.zeros(channels, rank))
        self.right = nn.Parameter(torch.randn(channels, rank) / channels**0.5)
        self.core = nn.Parameter(torch.randn(rank, rank, rank) / rank) if tucker else None


class SliceDelta(nn.Module):
    """Update (out, in) of a matrix. The update of its slice i is U S_i V^T.

    Attributes:
        factors: the matrices S_i (slices, r, r). In Tucker form, weights (slices, r). S_i is then the weighted sum
            of the r matrices of the core.
    """

    def __init__(self, out: int, inner: int, shared: SharedFactors) -> None:
        super().__init__()
        channels, rank = shared.left.shape
        self.shape = (out // channels, inner // channels)
        slices = self.shape[0] * self.shape[1]
        self.shared = shared
        size = (slices, rank) if shared.core is not None else (slices, rank, rank)
        self.factors = nn.Parameter(torch.randn(size) / rank**0.5)

    def forward(self) -> Tensor:
        """Return the update (out, in)."""
        core = self.shared.core
        factors = self.factors if core is None else torch.einsum("ip,pqr->iqr", self.factors, core)
        slices = torch.einsum("cq,iqr,dr->icd", self.shared.left, factors, self.shared.right)
        rows, columns = self.shape
        channels = self.shared.left.shape[0]
        grid = slices.reshape(rows, columns, channels, channels).transpose(1, 2)
        return grid.reshape(rows * channels, columns * channels)
