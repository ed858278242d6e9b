"""Low-rank updates whose ranks are allocated to layers during training."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

FACTORS = ("left", "values", "right")
# Smoothing factor of sensitivity and uncertainty, as in the experiments of the AdaLoRA paper.
BETA = 0.85


class SVDTriplets(nn.Module):
    """Update P diag(values) Q of an (out, in) matrix, a sum of `rank` triplets.

    A triplet is a value, its column of P and its row of Q. The importance of a triplet is computed from sensitivity and
    uncertainty. These two are buffers, so that a checkpoint contains them.

    Attributes:
        left: P (out, r).
        values: (r,), initially zero.
        right: Q (r, in).
        selected: (r,) bool, True for triplets that `allocate_ranks` selected; initially all.
    """

    selected: Tensor

    def __init__(self, out: int, inner: int, rank: int) -> None:
        super().__init__()
        rank = min(rank, out, inner)
        self.left = nn.Parameter(0.02 * torch.randn(out, rank))
        self.values = nn.Parameter(torch.zeros(rank))
        self.right = nn.Parameter(0.02 * torch.randn(rank, inner))
        for name in FACTORS:
            for statistic in ("sensitivity", "uncertainty"):
                self.register_buffer(f"{name}_{statistic}", torch.zeros_like(getattr(self, name)))
        self.register_buffer("selected", torch.ones(rank, dtype=torch.bool))

    def forward(self) -> Tensor:
        """Return the update (out, in)."""
        return (self.left * self.values) @ self.right

    def orthogonality_loss(self) -> Tensor:
        """Return the mean of the Frobenius norms of P^T P - I and Q Q^T - I. It is zero if P and Q are orthonormal."""
        gram = torch.stack([self.left.T @ self.left, self.right @ self.right.T])
        return torch.linalg.matrix_norm(gram - torch.eye(len(self.values), device=gram.device)).mean()

    @torch.no_grad()
    def update_sensitivity(self) -> None:
        """Update the smoothed sensitivity |weight * gradient| and its uncertainty from the current gradients."""
        for name in FACTORS:
            tensor = getattr(self, name)
            current = (tensor * tensor.grad).abs()
            sensitivity = getattr(self, f"{name}_sensitivity").lerp_(current, 1 - BETA)
            getattr(self, f"{name}_uncertainty").lerp_((current - sensitivity).abs(), 1 - BETA)

    def importance(self) -> Tensor:
        """Return the importance (r,) of each triplet.

        Returns:
            Sensitivity times uncertainty of the value, plus the mean of this product over the column of P and over the
            row of Q.
        """
        left, values, right = (
            getattr(self, f"{name}_sensitivity") * getattr(self, f"{name}_uncertainty") for name in FACTORS
        )
        return values + left.mean(0) + right.mean(1)

    @torch.no_grad()
    def prune(self) -> None:
        """Set the values of all triplets outside the selection to zero. A later step can make them nonzero again."""
        self.values.masked_fill_(~self.selected, 0)


def allocate_ranks(layers: Sequence[SVDTriplets], budget: int) -> None:
    """Select the `budget` most important triplets of all layers."""
    scores = torch.cat([layer.importance() for layer in layers])
    selected = torch.zeros_like(scores, dtype=torch.bool)
    selected[scores.topk(min(budget, len(scores))).indices] = True
    for layer, mask in zip(layers, selected.split([len(layer.selected) for layer in layers]), strict=True):
        layer.selected.copy_(mask)


def cubic_budget(first: int, last: int, fraction: float) -> int:
    """Return the number of triplets, which shrinks from `first` (`fraction` 0) to `last` (1) along a cubic."""
    return round(last + (first - last) * (1 - fraction) ** 3)
