"""Replacement of PyTorch's fused attention by separate operations, which the ONNX exporter supports."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

ATTRIBUTE = "fused_attn"


def uses_fused_attention(model: nn.Module) -> bool:
    """Return True if a timm layer of the model uses PyTorch's fused attention."""
    return any(getattr(module, ATTRIBUTE, False) for module in model.modules())


@contextmanager
def plain_attention(model: nn.Module) -> Iterator[None]:
    """Disable fused attention in timm's layers within the context.

    The exporter supports fused attention only for tensors of four dimensions, but Hiera and SAM use five. The results
    of plain attention differ only by rounding (below 1e-6).

    Args:
        model: network to change temporarily.

    Yields:
        Nothing.
    """
    changed = [module for module in model.modules() if getattr(module, ATTRIBUTE, False)]
    for module in changed:
        setattr(module, ATTRIBUTE, False)
    try:
        yield
    finally:
        for module in changed:
            setattr(module, ATTRIBUTE, True)
