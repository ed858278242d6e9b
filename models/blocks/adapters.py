"""Wrappers that attach a trained adapter parallel to a frozen module, or after the module."""

from typing import Any

from torch import Tensor, nn


class SequentialAdapter(nn.Module):
    """Sequential adapter with a skip connection: y + adapter(y), where y = module(x)."""

    def __init__(self, module: nn.Module, adapter: nn.Module) -> None:
        super().__init__()
        self.module, self.adapter = module, adapter

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Map tokens (B, N, C) to (B, N, C)."""
        y = self.module(x, *args, **kwargs)
        return y + self.adapter(y)


class ParallelAdapter(nn.Module):
    """Parallel adapter: module(x) + scale * adapter(x)."""

    def __init__(self, module: nn.Module, adapter: nn.Module, scale: float) -> None:
        super().__init__()
        self.module, self.adapter, self.scale = module, adapter, scale

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Map an input of the module to an output with the shape of the module's output."""
        return self.module(x, *args, **kwargs) + self.scale * self.adapter(x)


class Bottleneck(nn.Module):
    """Adapter: linear layer to `hidden` channels, activation, linear layer `up`.

    `up` starts at zero, so that the network initially has the outputs of the pretrained network.
    """

    def __init__(self, channels: int, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.down = nn.Linear(channels, hidden)
        self.activation = activation
        self.up = nn.Linear(hidden, channels)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, C) to (B, N, C)."""
        return self.up(self.activation(self.down(x)))
