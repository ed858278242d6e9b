"""Updates whose rank is shared out among layers while they train."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

FACTORS = ("left", "values", "right")
# Smoothing of sensitivity and uncertainty, as in the paper's experiments.
BETA = 0.85


class SVDTriplets(nn.Module):
    """Update P diag(values) Q of an (out, in) matrix: `rank` triplets, each with an importance.

    What the importance is made of lies in buffers, so that a checkpoint holds all of it.

    Attributes:
        left: P (out, r).
        values: (r,), zero at first.
        right: Q (r, in).
        kept: (r,) whether the triplet is within the budget.
    """

    kept: Tensor

    def __init__(self, out: int, inner: int, rank: int) -> None:
        super().__init__()
        rank = min(rank, out, inner)
        self.left = nn.Parameter(0.02 * torch.randn(out, rank))
        self.values = nn.Parameter(torch.zeros(rank))
        self.right = nn.Parameter(0.02 * torch.randn(rank, inner))
        for name in FACTORS:
            for what in ("sensitivity", "uncertainty"):
                self.register_buffer(f"{name}_{what}", torch.zeros_like(getattr(self, name)))
        self.register_buffer("kept", torch.ones(rank, dtype=torch.bool))

    def forward(self) -> Tensor:
        """(out, in)."""
        return (self.left * self.values) @ self.right

    def orthogonality_loss(self) -> Tensor:
        """() how far P and Q are from orthonormal, mean of the two Frobenius norms."""
        gram = torch.stack([self.left.T @ self.left, self.right @ self.right.T])
        return torch.linalg.matrix_norm(gram - torch.eye(len(self.values), device=gram.device)).mean()

    @torch.no_grad()
    def update_sensitivity(self) -> None:
        """Takes the gradients at hand into the smoothed sensitivity |w g| and its uncertainty."""
        for name in FACTORS:
            tensor = getattr(self, name)
            current = (tensor * tensor.grad).abs()
            sensitivity = getattr(self, f"{name}_sensitivity").lerp_(current, 1 - BETA)
            getattr(self, f"{name}_uncertainty").lerp_((current - sensitivity).abs(), 1 - BETA)

    def importance(self) -> Tensor:
        """(r,) sensitivity * uncertainty: of the value, and the mean over its column of P and its row of Q."""
        left, values, right = (
            getattr(self, f"{name}_sensitivity") * getattr(self, f"{name}_uncertainty") for name in FACTORS
        )
        return values + left.mean(0) + right.mean(1)

    @torch.no_grad()
    def prune(self) -> None:
        """Sets the values of the triplets that are not kept to zero; their gradient may bring them back."""
        self.values.masked_fill_(~self.kept, 0)


def allocate_ranks(layers: Sequence[SVDTriplets], budget: int) -> None:
    """Keeps the `budget` most important triplets of all layers."""
    scores = torch.cat([layer.importance() for layer in layers])
    selected = torch.zeros_like(scores, dtype=torch.bool)
    selected[scores.topk(min(budget, len(scores))).indices] = True
    for layer, mask in zip(layers, selected.split([len(layer.kept) for layer in layers]), strict=True):
        layer.kept.copy_(mask)


def cubic_budget(first: int, last: int, fraction: float) -> int:
    """Budget between `first` and `last` after `fraction` (0..1) of the time it shrinks in."""
    return round(last + (first - last) * (1 - fraction) ** 3)
