"""Roofline: the images per second at which a network would reach the rate of large matrix products."""

from dataclasses import dataclass
from statistics import median

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import seconds

# Operations of inference and training, in forward passes. A backward pass takes as many as two forward passes.
INFERENCE, TRAINING = 1, 3
SIDE, REPEATS = 8192, 10
# Images per second from the hardware specification, for the targets in docs/performance.md.
SPECIFIED = {
    ("H200", "vit_base_patch16_224", INFERENCE): 22_400.0,
    ("H200", "convnext_base", INFERENCE): 25_700.0,
    ("H200", "vit_base_patch16_224", TRAINING): 7_490.0,
}


@dataclass(frozen=True)
class Roofline:
    """Highest possible throughput of a network on a device.

    Attributes:
        backbone: timm name.
        device: name of the device.
        flops: floating-point operations of the forward pass of one image.
        rate: measured operations per second of large bf16 matrix products.
    """

    backbone: str
    device: str
    flops: float
    rate: float

    def specified(self, passes: int) -> float | None:
        """Return the images per second in `SPECIFIED` for this device and network, or None.

        Args:
            passes: INFERENCE or TRAINING.
        """
        for (device, backbone, specified_passes), rate in SPECIFIED.items():
            if device in self.device and (backbone, specified_passes) == (self.backbone, passes):
                return rate
        return None

    def images_per_second(self, passes: int) -> float:
        """Return the higher of the computed and the specified images per second."""
        return max(self.rate / (self.flops * passes), self.specified(passes) or 0.0)

    def percent(self, images: float, passes: int) -> float:
        """Return `images` per second as a percentage of the roofline."""
        return 100 * images / self.images_per_second(passes)

    def note(self, passes: int) -> str:
        """Describe how the roofline was determined."""
        computed = self.rate / (self.flops * passes)
        text = f"{self.device}; roofline {computed:,.0f} images/s: {self.flops * passes / 1e9:.3g} GFLOP per image at "
        text += f"{self.rate / 1e12:.3g} TFLOP/s, measured"
        return text if (specified := self.specified(passes)) is None else f"{text}; specified {specified:,.0f}"


def flops(network: nn.Module, size: int) -> float:
    """Count the floating-point operations of matrix products and convolutions for one (3, size, size) image.

    A multiply-add counts as two operations.

    Args:
        network: network on the meta device, so nothing is computed.
        size: H = W.

    Returns:
        The number of operations.
    """
    images = torch.empty(1, 3, size, size, device="meta")
    # Attention as plain matrix products, because fused kernels are counted inconsistently.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        network(images)
    return float(counter.get_total_flops())


def product_rate(device: torch.device, side: int = SIDE, rounds: int = 9) -> float:
    """Return the median operations per second, over `rounds`, of bf16 products of (side, side) matrices."""
    left, right = (torch.randn(side, side, device=device).to(torch.bfloat16) for _ in range(2))
    out = torch.empty_like(left)

    def products() -> None:
        for _ in range(REPEATS):
            torch.mm(left, right, out=out)
        synchronize(device)

    durations = [seconds(products) for _ in range(2 + rounds)][2:]  # two rounds warm up
    return 2.0 * side**3 * REPEATS / median(durations)


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
