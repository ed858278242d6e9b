"""Layers and updates whose matrices are sums of Kronecker products. `(x)` means the Kronecker product."""

import torch
from torch import Tensor, nn


def shared_factors(terms: int) -> nn.Parameter:
    """Create the n = `terms` factors A_i (n, n) that all layers share, with small random values."""
    return nn.Parameter(torch.randn(terms, terms, terms) * 0.1)


def kronecker_sum(left: Tensor, right: Tensor) -> Tensor:
    """Return the matrix sum_i left_i (x) right_i (a c, b d) for `left` (n, a, b) and `right` (n, c, d)."""
    _, a, b = left.shape
    _, c, d = right.shape
    return torch.einsum("nab,ncd->acbd", left, right).reshape(a * c, b * d)


class Hypercomplex(nn.Module):
    """Linear layer with the weight sum_i A_i (x) (s_i t_i) (in, out) and shared A_i (n, n); t starts at 0 if `zero`."""

    def __init__(self, inner: int, out: int, shared: nn.Parameter, zero: bool) -> None:
        super().__init__()
        terms = len(shared)
        self.shared = shared
        self.left = nn.Parameter(torch.randn(terms, inner // terms, 1) / (inner // terms) ** 0.5)
        right = torch.zeros if zero else torch.randn
        self.right = nn.Parameter(right(terms, 1, out // terms))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        """Map features (..., in) to (..., out)."""
        return x @ kronecker_sum(self.shared, self.left @ self.right) + self.bias


class HypercomplexBottleneck(nn.Sequential):
    """Two hypercomplex layers with GELU between them; the output is initially zero."""

    def __init__(self, channels: int, hidden: int, shared: nn.Parameter) -> None:
        down = Hypercomplex(channels, hidden, shared, zero=False)
        super().__init__(down, nn.GELU(), Hypercomplex(hidden, channels, shared, zero=True))


class KroneckerDelta(nn.Module):
    """Update sum_i A_i (x) (u_i v_i) of a weight (out, in) with shared A_i (n, n); v starts at zero."""

    def __init__(self, out: int, inner: int, shared: nn.Parameter, rank: int) -> None:
        super().__init__()
        terms = len(shared)
        self.shared = shared
        self.left = nn.Parameter(torch.randn(terms, out // terms, rank) / rank**0.5)
        self.right = nn.Parameter(torch.zeros(terms, rank, inner // terms))

    def forward(self) -> Tensor:
        """Return the update (out, in)."""
        return kronecker_sum(self.shared, self.left @ self.right)
