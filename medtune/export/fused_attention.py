"""Attention in its plain form, which ONNX can express for any number of dimensions."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

ATTRIBUTE = "fused_attn"


def uses_fused_attention(model: nn.Module) -> bool:
    """Return True if a timm layer of the model uses PyTorch's fused attention."""
    return any(getattr(module, ATTRIBUTE, False) for module in model.modules())


@contextmanager
def plain_attention(model: nn.Module) -> Iterator[None]:
    """Let timm's layers compute attention step by step while the block runs.

    Results differ by rounding only (below 1e-6). The exporter writes fused attention for four dimensions alone, but
    Hiera and SAM use five.
    """
    changed = [module for module in model.modules() if getattr(module, ATTRIBUTE, False)]
    for module in changed:
        setattr(module, ATTRIBUTE, False)
    try:
        yield
    finally:
        for module in changed:
            setattr(module, ATTRIBUTE, True)
