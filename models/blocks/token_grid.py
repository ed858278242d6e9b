"""Tokens back on their grid, for a convolution among them."""

import math

import torch
from torch import Tensor, nn


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), an approximation of GELU, of any shape."""
    return x * torch.sigmoid(1.702 * x)


class TokenGridConv(nn.Module):
    """Down to `hidden` channels, 3x3 convolution over the square patch grid, up; zero at the start.

    Each prefix token passes the same convolution on a grid of its own. Activations are QuickGELU. Both as in Convpass.
    """

    def __init__(self, channels: int, hidden: int, prefix_tokens: int) -> None:
        super().__init__()
        self.prefix_tokens = prefix_tokens
        self.down = nn.Linear(channels, hidden)
        self.convolve = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.up = nn.Linear(hidden, channels)
        nn.init.xavier_uniform_(self.down.weight)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        nn.init.zeros_(self.convolve.weight)
        nn.init.zeros_(self.convolve.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.convolve.weight[:, :, 1, 1] = torch.eye(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, P + N, C) -> (B, P + N, C)."""
        hidden = quick_gelu(self.down(x))
        batch, tokens, width = hidden.shape
        side = math.isqrt(tokens - self.prefix_tokens)
        grid = hidden[:, self.prefix_tokens :].transpose(1, 2).reshape(batch, width, side, side)
        patches = self.convolve(grid).flatten(2).transpose(1, 2)
        prefix_grids = hidden[:, : self.prefix_tokens].reshape(-1, width, 1, 1)
        prefix = self.convolve(prefix_grids).reshape(batch, self.prefix_tokens, width)
        return self.up(quick_gelu(torch.cat([prefix, patches], dim=1)))
