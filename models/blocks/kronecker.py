"""Matrices as sums of Kronecker products."""

import torch
from torch import Tensor, nn


def shared_factors(terms: int) -> nn.Parameter:
    """(n, n, n): the A_i that all layers share, drawn small."""
    return nn.Parameter(torch.randn(terms, terms, terms) * 0.1)


def kronecker_sum(left: Tensor, right: Tensor) -> Tensor:
    """sum_i left_i (x) right_i: (n, a, b), (n, c, d) -> (a c, b d)."""
    _, a, b = left.shape
    _, c, d = right.shape
    return torch.einsum("nab,ncd->acbd", left, right).reshape(a * c, b * d)


class Hypercomplex(nn.Module):
    """Linear layer whose (in, out) weight is sum_i A_i (x) (s_i t_i), A_i (n, n) shared."""

    def __init__(self, inner: int, out: int, shared: nn.Parameter, zero: bool) -> None:
        super().__init__()
        terms = len(shared)
        self.shared = shared
        self.left = nn.Parameter(torch.randn(terms, inner // terms, 1) / (inner // terms) ** 0.5)
        right = torch.zeros if zero else torch.randn
        self.right = nn.Parameter(right(terms, 1, out // terms))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return x @ kronecker_sum(self.shared, self.left @ self.right) + self.bias


class HypercomplexBottleneck(nn.Sequential):
    """Down, GELU, up of hypercomplex layers; zero at the start."""

    def __init__(self, channels: int, hidden: int, shared: nn.Parameter) -> None:
        down = Hypercomplex(channels, hidden, shared, zero=False)
        super().__init__(down, nn.GELU(), Hypercomplex(hidden, channels, shared, zero=True))


class KroneckerDelta(nn.Module):
    """sum_i A_i (x) (u_i v_i) as an update of an (out, in) weight; A_i (n, n) shared, v starts at zero."""

    def __init__(self, out: int, inner: int, shared: nn.Parameter, rank: int) -> None:
        super().__init__()
        terms = len(shared)
        self.shared = shared
        self.left = nn.Parameter(torch.randn(terms, out // terms, rank) / rank**0.5)
        self.right = nn.Parameter(torch.zeros(terms, rank, inner // terms))

    def forward(self) -> Tensor:
        """(out, in)."""
        return kronecker_sum(self.shared, self.left @ self.right)
