"""`python -m benchmarks.cdtm`: CDTM's mixing as one product against the expanded formula, same run, same tensors."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Annotated

import torch
import typer
from torch import Tensor

from config import cli
from models.cdtm import ClusterAttention

NAMES = ("expanded", "one product")


def expanded(weights: Tensor, mixing: Tensor) -> Tensor:
    """(B, N, N) matrices by the expanded formula: the (B, K) weights become a (B, K, N, N) tensor, so does the product.

    Two temporaries of K N N numbers an image, 92 MB at ViT-B shape, as in the paper's code.
    """
    _, tokens, _ = mixing.shape
    return (weights[:, :, None, None].repeat(1, 1, tokens, tokens) * mixing).sum(1)


def one_product(weights: Tensor, mixing: Tensor) -> Tensor:
    """The same as one matrix product."""
    centers, tokens, _ = mixing.shape
    return (weights @ mixing.reshape(centers, tokens * tokens)).reshape(-1, tokens, tokens)


def race(
    calls: Mapping[str, Callable[[], Tensor]], leaves: Sequence[Tensor], rounds: int
) -> tuple[dict[str, float], float]:
    """Median seconds of forward + backward of each call, interleaved, and their outputs' relative difference."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    outputs = {}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            for leaf in leaves:
                leaf.grad = None
            start = time.perf_counter()
            out = call()
            out.square().mean().backward()
            seconds[name].append(time.perf_counter() - start)
            outputs[name] = out.detach()
    first, second = (outputs[name] for name in NAMES)
    difference = float((second - first).norm() / first.norm())
    return {name: median(times[1:]) for name, times in seconds.items()}, difference  # the first round warms up


def run(
    batch: Annotated[int, typer.Option(help="Images, B.")] = 8,
    tokens: Annotated[int, typer.Option(help="Tokens, N.")] = 196,
    channels: Annotated[int, typer.Option(help="Channels, C.")] = 768,
    centers: Annotated[int, typer.Option(help="Centres, K.")] = 300,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; medians are printed.")] = 9,
) -> None:
    """Compare both formulas: largest relative difference, and time of forward + backward."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    module = ClusterAttention(tokens, channels, centers)
    x = torch.randn(batch, tokens, channels)
    weights = module.weights(x).detach().requires_grad_()

    def whole(formula: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return module.project(formula(module.weights(x), module.mixing) @ x)

    cli.say(f"shape: B {batch}, N {tokens}, C {channels}, K {centers}; {threads} threads; torch {torch.__version__}")
    formulas = dict(zip(NAMES, (expanded, one_product), strict=True))
    for title, calls, target in (
        ("mixing", {n: lambda f=f: f(weights, module.mixing) for n, f in formulas.items()}, ", target 15x"),
        ("whole cluster attention, with the projection", {n: lambda f=f: whole(f) for n, f in formulas.items()}, ""),
    ):
        seconds, difference = race(calls, [weights, *module.parameters()], rounds)
        slow, fast = (seconds[name] for name in NAMES)
        cli.say(f"{title}: {slow * 1e3:.1f} ms expanded, {fast * 1e3:.1f} ms as one product, forward + backward")
        cli.say(f"  {slow / fast:.1f}x{target}; relative difference {difference:.1e} (limit 1e-6)")


if __name__ == "__main__":
    cli.run(run)
