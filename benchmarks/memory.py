"""`python -m benchmarks.memory`: compute the memory of weights, gradients and AdamW per rank, for DDP and FSDP.

A rank is one process of a distributed training. With DDP, every rank has the complete network. With FSDP, every rank
has a part of it. The numbers are computed from the shapes of a network on the meta device. No training runs. The
memory for activations and the overhead of torch and CUDA are not included. Activations grow with the batch size and the
image size.
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
MOMENTS = 2  # moments of AdamW per parameter; its step counters are negligible


@dataclass(frozen=True)
class RankMemory:
    """Bytes on one rank.

    Attributes:
        weights: parameters and buffers, which are fp32 also with mixed precision.
        gradients: gradients of the trained parameters.
        moments: moments of the optimizer.
        average: averaged weights (`ema_decay`).
        gathered: weights and gradients of the largest block. FSDP gathers them while it computes the block.
    """

    weights: int
    gradients: int
    moments: int
    average: int
    gathered: int = 0

    @property
    def total(self) -> int:
        """Sum of all attributes."""
        return self.weights + self.gradients + self.moments + self.average + self.gathered


def replicated(network: nn.Module, ema: bool) -> RankMemory:
    """Compute the memory of each rank if every rank has the complete network (DDP, as in MedTune)."""
    return _rank_memory(network, 1, ema)


def sharded(network: nn.Module, ranks: int, ema: bool) -> RankMemory:
    """Compute the memory of the largest rank if every tensor is divided along its first dimension (FSDP)."""
    memory = _rank_memory(network, ranks, ema)
    blocks = [_rank_memory(block, 1, False) for block in _blocks(network) or [network]]
    gathered = max(block.weights + block.gradients for block in blocks) if ranks > 1 else 0
    return RankMemory(memory.weights, memory.gradients, memory.moments, memory.average, gathered)


def _rank_memory(network: nn.Module, ranks: int, ema: bool) -> RankMemory:
    """Compute the memory of the largest of `ranks` parts of the network, without gathered blocks."""
    trained = _bytes((p for p in network.parameters() if p.requires_grad), ranks)
    weights = _bytes(network.parameters(), ranks) + _bytes(network.buffers(), 1)
    return RankMemory(weights, trained, MOMENTS * trained, weights if ema else 0)


def _bytes(tensors: Iterable[Tensor], ranks: int) -> int:
    """Return the bytes of the largest parts if each tensor is divided into `ranks` parts along its first dimension."""
    total = 0
    for tensor in tensors:
        rows = tensor.shape[0] if tensor.dim() else 1
        total += ceil(rows / ranks) * (tensor.numel() // max(rows, 1)) * tensor.element_size()
    return total


def _blocks(network: nn.Module) -> list[nn.Module]:
    """Return the blocks that FSDP would gather: the children of every nn.Sequential and nn.ModuleList."""
    holders = (nn.Sequential, nn.ModuleList)
    return [child for module in network.modules() if isinstance(module, holders) for child in module.children()]


def build_network(backbone: str, image_size: int, method: str, classes: int) -> nn.Module:
    """Build the classifier of stage 2 with a linear head on the meta device."""
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
    ranks: Annotated[str, typer.Option(help="Numbers of processes, separated by commas.")] = "1,2,4,8",
    image_size: Annotated[int, typer.Option(help="Image side in pixels.")] = 224,
    method: Annotated[str, typer.Option(help="model.peft.method; none: all parameters are trained.")] = "none",
    classes: Annotated[int, typer.Option(help="Classes.")] = 2,
    ema: Annotated[bool, typer.Option(help="With averaged weights (finetune.ema_decay).")] = True,
) -> None:
    """Compute the memory of weights, gradients and optimizer per rank, replicated and sharded."""
    try:
        counts = sorted({int(word) for word in ranks.split(",")})
    except ValueError:
        counts = [0]
    if counts[0] < 1:
        raise InputError(f"--ranks {ranks!r}: use numbers of processes such as 1,2,4,8")
    network = build_network(backbone, image_size, method, classes)
    total = sum(p.numel() for p in network.parameters())
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    console.info(f"{backbone}, method {method}: {total:,} parameters, {trained:,} trained")
    console.info("computed from shapes in fp32, not measured; GiB per rank, without activations")
    console.info(f"{'':24}{'weights':>10}{'gradients':>11}{'moments':>9}{'average':>9}{'gathered':>10}{'total':>8}")
    rows = [("DDP, any number of ranks", replicated(network, ema))]
    rows += [(f"FSDP, {count} ranks", sharded(network, count, ema)) for count in counts]
    for name, memory in rows:
        values = (memory.weights, memory.gradients, memory.moments, memory.average, memory.gathered, memory.total)
        widths = (10, 11, 9, 9, 10, 8)
        console.info(f"{name:24}" + "".join(f"{n / GIB:{w}.2f}" for n, w in zip(values, widths, strict=True)))


if __name__ == "__main__":
    program.run(run)
