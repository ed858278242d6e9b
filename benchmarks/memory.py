"""`python -m benchmarks.memory`: what weights, gradients and AdamW hold on each rank, reckoned from a network's shapes.

Nothing is run and nothing measured: the network lies on the meta device. Activations, which grow with batch and image
size, and what torch and CUDA hold for themselves come on top.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Annotated

import torch
import typer
from torch import Tensor, nn

from medtune.cli import program
from medtune.config import load
from medtune.config.errors import InputError
from medtune.runtime import console

GIB = 2**30
MOMENTS = 2  # AdamW's; its step counts are a few bytes a tensor


@dataclass(frozen=True)
class Held:
    """Bytes on one rank.

    Attributes:
        weights: parameters and buffers, fp32 under mixed precision too.
        gradients: of what is trained.
        moments: of what is trained.
        average: the copy that `ema` keeps of all weights.
        gathered: weights and gradients of the largest block, whole while it computes; only where they are sharded.
    """

    weights: int
    gradients: int
    moments: int
    average: int
    gathered: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.moments + self.average + self.gathered


def replicated(network: nn.Module, ema: bool) -> Held:
    """What every rank holds where each has the whole network (DDP, as MedTune trains), however many there are."""
    return _held(network, 1, ema)


def sharded(network: nn.Module, ranks: int, ema: bool) -> Held:
    """What the fullest rank would hold where every tensor is cut along its first dimension (FSDP, fully sharded)."""
    held = _held(network, ranks, ema)
    whole = [_held(block, 1, False) for block in _blocks(network) or [network]]
    gathered = max(block.weights + block.gradients for block in whole) if ranks > 1 else 0
    return Held(held.weights, held.gradients, held.moments, held.average, gathered)


def _held(network: nn.Module, ranks: int, ema: bool) -> Held:
    trained = _bytes((p for p in network.parameters() if p.requires_grad), ranks)
    weights = _bytes(network.parameters(), ranks) + _bytes(network.buffers(), 1)
    return Held(weights, trained, MOMENTS * trained, weights if ema else 0)


def _bytes(tensors: Iterable[Tensor], ranks: int) -> int:
    total = 0
    for tensor in tensors:
        rows = tensor.shape[0] if tensor.dim() else 1
        total += ceil(rows / ranks) * (tensor.numel() // max(rows, 1)) * tensor.element_size()
    return total


def _blocks(network: nn.Module) -> list[nn.Module]:
    """What FSDP would gather at a time: the children of the backbone's lists and sequences of layers."""
    holders = (nn.Sequential, nn.ModuleList)
    return [child for module in network.modules() if isinstance(module, holders) for child in module.children()]


def network_of(backbone: str, image_size: int, method: str, classes: int) -> nn.Module:
    """The classifier as stage 2 trains it, without memory, with a linear head."""
    from medtune.models import adapt, backbones, classifier

    params = load.load(
        sets=[
            f"model.backbone={backbone}",
            "model.weights=none",
            "model.backbone_args={}",
            "model.head.kind=linear",
            f"model.peft.method={method}",
            f"data.image_size={image_size}",
        ]
    )
    backbones.check_backbone(params)
    with torch.device("meta"):
        return adapt.adapt(classifier.build(params, classes, load_weights=False), params)


def run(
    backbone: Annotated[str, typer.Option(help="timm name.")] = "vit_large_patch16_224",
    ranks: Annotated[str, typer.Option(help="Numbers of processes, comma between them.")] = "1,2,4,8",
    image_size: Annotated[int, typer.Option(help="Pixels a side.")] = 224,
    method: Annotated[str, typer.Option(help="model.peft.method; none: everything is trained.")] = "none",
    classes: Annotated[int, typer.Option(help="Classes.")] = 2,
    ema: Annotated[bool, typer.Option(help="With averaged weights (finetune.ema_decay).")] = True,
) -> None:
    """Reckon the memory of weights, gradients and optimizer on each rank, whole and sharded."""
    try:
        counts = sorted({int(word) for word in ranks.split(",")})
    except ValueError:
        counts = [0]
    if counts[0] < 1:
        raise InputError(f"--ranks {ranks!r}: write numbers of processes, 1,2,4,8")
    network = network_of(backbone, image_size, method, classes)
    total = sum(p.numel() for p in network.parameters())
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    console.info(f"{backbone}, method {method}: {total:,} parameters, {trained:,} trained")
    console.info("reckoned from shapes in fp32, not measured; GiB a rank, without activations")
    console.info(f"{'':24}{'weights':>10}{'gradients':>11}{'moments':>9}{'average':>9}{'gathered':>10}{'total':>8}")
    rows = [("DDP, any number", replicated(network, ema))]
    rows += [(f"FSDP, {count} of them", sharded(network, count, ema)) for count in counts]
    for name, held in rows:
        figures = (held.weights, held.gradients, held.moments, held.average, held.gathered, held.total)
        widths = (10, 11, 9, 9, 10, 8)
        console.info(f"{name:24}" + "".join(f"{n / GIB:{w}.2f}" for n, w in zip(figures, widths, strict=True)))


if __name__ == "__main__":
    program.run(run)
