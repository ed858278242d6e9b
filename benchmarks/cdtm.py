"""`python -m benchmarks.cdtm`: CDTM's mixing as one product against the expanded formula, same run, same tensors."""

import time
from collections.abc import Callable
from statistics import median
from typing import Annotated

import torch
import typer
from torch import Tensor

from config import cli
from models.cdtm import ClusterAttention


def expanded(module: ClusterAttention, x: Tensor) -> Tensor:
    """The mixing with the weights expanded to (B, K, N, N), as the paper's code computes it."""
    batch, tokens, _ = x.shape
    centers = module.mixing.shape[0]
    weights = module.weights(x)[:, :, None, None].expand(batch, centers, tokens, tokens)
    return module.project((weights * module.mixing).sum(1) @ x)


def run(
    batch: Annotated[int, typer.Option(help="Images, B.")] = 8,
    tokens: Annotated[int, typer.Option(help="Tokens, N.")] = 196,
    channels: Annotated[int, typer.Option(help="Channels, C.")] = 768,
    centers: Annotated[int, typer.Option(help="Centres, K.")] = 300,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; medians are printed.")] = 5,
) -> None:
    """Compare both formulas: largest relative difference, and time of forward + backward."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    module = ClusterAttention(tokens, channels, centers)
    x = torch.randn(batch, tokens, channels)
    results: dict[str, list[float]] = {"expanded": [], "one product": []}
    outputs: dict[str, Tensor] = {}
    formulas: dict[str, Callable[[Tensor], Tensor]] = {
        "expanded": lambda x: expanded(module, x),
        "one product": module,
    }
    for _ in range(rounds + 1):
        for name, formula in formulas.items():
            module.zero_grad(set_to_none=True)
            leaf = x.clone().requires_grad_()
            start = time.perf_counter()
            out = formula(leaf)
            out.square().mean().backward()
            results[name].append(time.perf_counter() - start)
            outputs[name] = out.detach()
    difference = float((outputs["one product"] - outputs["expanded"]).norm() / outputs["expanded"].norm())
    seconds = {name: median(times[1:]) for name, times in results.items()}  # the first round warms up
    cli.say(f"shape: B {batch}, N {tokens}, C {channels}, K {centers}; {threads} threads; torch {torch.__version__}")
    cli.say(f"relative difference in single precision: {difference:.1e} (limit 1e-6)")
    for name, value in seconds.items():
        cli.say(f"{name}: forward + backward {value * 1e3:.1f} ms")
    cli.say(f"speed-up: {seconds['expanded'] / seconds['one product']:.1f}x (target 15x)")


if __name__ == "__main__":
    cli.run(run)
