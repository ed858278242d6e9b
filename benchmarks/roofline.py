"""Images a second that a device cannot exceed: a network's operations at the rate of the device's large products."""

from dataclasses import dataclass
from statistics import median

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import seconds

INFERENCE, TRAINING = 1, 3  # forward passes' worth of operations: the backward pass has twice a forward pass's
SIDE, REPEATS = 8192, 10
# Images a second that docs/performance.md sets targets against.
NAMED = {
    ("H200", "vit_base_patch16_224", INFERENCE): 22_400.0,
    ("H200", "convnext_base", INFERENCE): 25_700.0,
    ("H200", "vit_base_patch16_224", TRAINING): 7_490.0,
}


@dataclass(frozen=True)
class Ceiling:
    """What one network can reach on one device.

    Attributes:
        backbone: timm name.
        device: what it is called.
        flops: floating-point operations of an image's forward pass.
        rate: of large bf16 products on this device in this run, operations a second.
    """

    backbone: str
    device: str
    flops: float
    rate: float

    def named(self, passes: int) -> float | None:
        """Images a second that are named for this device and network, if any are."""
        found = (
            rate for (device, *of), rate in NAMED.items() if device in self.device and of == [self.backbone, passes]
        )
        return next(found, None)

    def images(self, passes: int) -> float:
        """Images a second: what was reckoned from this run's rate, or what is named where that is more."""
        return max(self.rate / (self.flops * passes), self.named(passes) or 0.0)

    def share(self, images: float, passes: int) -> float:
        """Percent of the ceiling that `images` a second are."""
        return 100 * images / self.images(passes)

    def note(self, passes: int) -> str:
        """Where the ceiling comes from."""
        reckoned = self.rate / (self.flops * passes)
        text = f"{self.device}; ceiling {reckoned:,.0f} images/s: {self.flops * passes / 1e9:.3g} GFLOP an image at "
        text += f"{self.rate / 1e12:.3g} TFLOP/s, measured"
        return text if (named := self.named(passes)) is None else f"{text}; named {named:,.0f}"


def flops(network: nn.Module, size: int) -> float:
    """Floating-point operations of products and convolutions for one (3, size, size) image, two a multiply-add.

    Args:
        network: on the meta device: nothing is computed.
        size: H = W.
    """
    images = torch.empty(1, 3, size, size, device="meta")
    # Attention in plain products: each fused kernel counts its own way, or not at all.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        network(images)
    return float(counter.get_total_flops())


def product_rate(device: torch.device, side: int = SIDE, rounds: int = 9) -> float:
    """Operations a second of bf16 products of two (side, side) matrices; the median of `rounds`."""
    left, right = (torch.randn(side, side, device=device).to(torch.bfloat16) for _ in range(2))
    out = torch.empty_like(left)

    def products() -> None:
        for _ in range(REPEATS):
            torch.mm(left, right, out=out)
        synchronize(device)

    taken = [seconds(products) for _ in range(2 + rounds)][2:]  # two warm up
    return 2.0 * side**3 * REPEATS / median(taken)


def synchronize(device: torch.device) -> None:
    """Waits until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
