"""Convolution over the grid of a ViT's patch tokens."""

import math

import torch
from torch import Tensor, nn


def quick_gelu(x: Tensor) -> Tensor:
    """Return x sigmoid(1.702 x), an approximation of GELU, for any shape."""
    return x * torch.sigmoid(1.702 * x)


class TokenGridConv(nn.Module):
    """Linear layer to `hidden` channels, 3x3 convolution over the square patch grid, linear layer `up`.

    A QuickGELU precedes and follows the convolution, as in Convpass. The convolution starts as the identity, and `up`
    starts at zero. Each prefix token (class or register token) is convolved separately, as a grid of 1x1.
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
        nn.init.zeros_(self.convolve.bias)
        with torch.no_grad():
            self.convolve.weight[:, :, 1, 1] = torch.eye(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map prefix and patch tokens (B, P + N, C) to (B, P + N, C)."""
        hidden = quick_gelu(self.down(x))
        batch, tokens, width = hidden.shape
        side = math.isqrt(tokens - self.prefix_tokens)
        grid = hidden[:, self.prefix_tokens :].transpose(1, 2).reshape(batch, width, side, side)
        patches = self.convolve(grid).flatten(2).transpose(1, 2)
        prefix_grids = hidden[:, : self.prefix_tokens].reshape(-1, width, 1, 1)
        prefix = self.convolve(prefix_grids).reshape(batch, self.prefix_tokens, width)
        return self.up(quick_gelu(torch.cat([prefix, patches], dim=1)))
