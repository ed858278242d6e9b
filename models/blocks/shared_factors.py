"""Updates of many matrices that share their factors."""

import torch
from torch import Tensor, nn


class SharedFactors(nn.Module):
    """Factors of every slice: U (C, r), zero at first, V (C, r), and for the Tucker form a core (r, r, r)."""

    def __init__(self, channels: int, rank: int, tucker: bool) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.zeros(channels, rank))
        self.right = nn.Parameter(torch.randn(channels, rank) / channels**0.5)
        self.core = nn.Parameter(torch.randn(rank, rank, rank) / rank) if tucker else None


class SliceDelta(nn.Module):
    """Update (out, in) of a matrix cut into C x C slices, each U S_i V^T."""

    def __init__(self, out: int, inner: int, shared: SharedFactors) -> None:
        super().__init__()
        channels, rank = shared.left.shape
        self.shape = (out // channels, inner // channels)
        slices = self.shape[0] * self.shape[1]
        self.shared = shared
        size = (slices, rank) if shared.core is not None else (slices, rank, rank)
        self.own = nn.Parameter(torch.randn(size) / rank**0.5)

    def forward(self) -> Tensor:
        """(out, in)."""
        own = self.own if self.shared.core is None else torch.einsum("ip,pqr->iqr", self.own, self.shared.core)
        slices = torch.einsum("cq,iqr,dr->icd", self.shared.left, own, self.shared.right)
        rows, columns = self.shape
        channels = self.shared.left.shape[0]
        grid = slices.reshape(rows, columns, channels, channels).transpose(1, 2)
        return grid.reshape(rows * channels, columns * channels)
