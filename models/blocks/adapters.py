"""New modules beside or behind a frozen one: how adapters enter a network."""

from typing import Any

from torch import Tensor, nn


class SequentialAdapter(nn.Module):
    """y = module(x); y + adapter(y): a sequential adapter with its own skip."""

    def __init__(self, module: nn.Module, adapter: nn.Module) -> None:
        super().__init__()
        self.module, self.adapter = module, adapter

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        y = self.module(x, *args, **kwargs)
        return y + self.adapter(y)


class ParallelAdapter(nn.Module):
    """module(x) + scale * adapter(x): a parallel adapter."""

    def __init__(self, module: nn.Module, adapter: nn.Module, scale: float) -> None:
        super().__init__()
        self.module, self.adapter, self.scale = module, adapter, scale

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Of the module's own shapes."""
        return self.module(x, *args, **kwargs) + self.scale * self.adapter(x)


class Bottleneck(nn.Module):
    """Down, non-linearity, up; up starts at zero, so that training begins at the pretrained network."""

    def __init__(self, channels: int, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.down = nn.Linear(channels, hidden)
        self.activation = activation
        self.up = nn.Linear(hidden, channels)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return self.up(self.activation(self.down(x)))
