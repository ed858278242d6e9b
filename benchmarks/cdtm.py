"""`python -m benchmarks.cdtm`: compare two ways to compute the mixing matrix of the head CDTM.

The head mixes the tokens of an image with a weighted sum of learned matrices. One way is the formula of the paper, and
the other way is a single matrix product.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Annotated

import torch
import typer
from torch import Tensor

from benchmarks.results import Row, Save, finish, format_row
from medtune.cli import program
from medtune.models.cdtm import ClusterAttention
from medtune.runtime import console
from medtune.training.memory import PeakMemory

FORMULAS = ("expanded formula", "matrix product")
SPEEDUP_TARGET, MEMORY_TARGET = 15, 50  # ratios of time and of memory
MIN_PEAK_MIB = 0.1  # smaller memory peaks cannot be measured and count as this value


def expanded(weights: Tensor, mixing: Tensor) -> Tensor:
    """Compute the mixed matrices with the formula of the paper, in which the weights are expanded to (B, K, N, N).

    The formula needs two temporary arrays of K N N numbers per image, 92 MB each for ViT-B.

    Args:
        weights: (B, K) weights of the matrices for each image.
        mixing: (K, N, N) learned matrices.

    Returns:
        (B, N, N) weighted sum of the matrices for each image.
    """
    _, tokens, _ = mixing.shape
    return (weights[:, :, None, None].repeat(1, 1, tokens, tokens) * mixing).sum(1)


def matrix_product(weights: Tensor, mixing: Tensor) -> Tensor:
    """Compute the mixed matrices with one matrix product; arguments and result as in `expanded`."""
    centers, tokens, _ = mixing.shape
    return (weights @ mixing.reshape(centers, tokens * tokens)).reshape(-1, tokens, tokens)


def compare(
    calls: Mapping[str, Callable[[], Tensor]], leaves: Sequence[Tensor], rounds: int
) -> tuple[dict[str, float], float]:
    """Run calls alternately and compare them.

    Args:
        calls: calls by name, with the names `FORMULAS`.
        leaves: tensors that get gradients.
        rounds: measured runs of each call.

    Returns:
        The median seconds of forward + backward by name, and the relative difference of the outputs.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    outputs = {}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            for leaf in leaves:
                leaf.grad = None
            start = time.perf_counter()
            output = call()
            output.square().mean().backward()  # type: ignore[no-untyped-call]
            seconds[name].append(time.perf_counter() - start)
            outputs[name] = output.detach()
    first, second = (outputs[name] for name in FORMULAS)
    difference = float((second - first).norm() / first.norm())
    return {name: median(times[1:]) for name, times in seconds.items()}, difference  # the first round warms up


@torch.no_grad()
def peak_memory(calls: Mapping[str, Callable[[], Tensor]]) -> list[float] | None:
    """Return the peak memory of each call in MiB, including its result; None if the system does not report it."""
    peaks = []
    for call in calls.values():
        memory = PeakMemory("cpu")
        call()
        if (peak := memory.megabytes()) is None:
            return None
        peaks.append(peak)
    return peaks


def measure(
    batch: int = 8, tokens: int = 196, channels: int = 768, centers: int = 300, threads: int = 2, rounds: int = 9
) -> list[Row]:
    """Measure both formulas: time of the mixing alone and of the complete cluster attention, and memory."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    module = ClusterAttention(tokens, channels, centers)
    x = torch.randn(batch, tokens, channels)
    weights = module.weights(x).detach().requires_grad_()

    def cluster_attention(formula: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        projected: Tensor = module.project(formula(module.weights(x), module.mixing) @ x)
        return projected

    shape = f"B {batch}, N {tokens}, C {channels}, K {centers}"
    console.info(f"shape: {shape}; {threads} threads; torch {torch.__version__}")
    formulas = dict(zip(FORMULAS, (expanded, matrix_product), strict=True))
    mixing = {name: lambda f=formula: f(weights, module.mixing) for name, formula in formulas.items()}
    rows = []
    for title, calls, target in (
        ("mixing", mixing, SPEEDUP_TARGET),
        (
            "complete cluster attention, with the projection",
            {name: lambda f=formula: cluster_attention(f) for name, formula in formulas.items()},
            None,
        ),
    ):
        seconds, difference = compare(calls, [weights, *module.parameters()], rounds)
        slow, fast = (seconds[name] * 1e3 for name in FORMULAS)
        target_text = f", target {target}x" if target else ""
        console.info(
            f"{title}: {slow:.1f} ms with the expanded formula, {fast:.1f} ms with the matrix product, "
            "forward + backward"
        )
        console.info(f"  {slow / fast:.1f}x{target_text}; relative difference {difference:.1e} (limit 1e-6)")
        note = f"{shape}; forward + backward; relative difference {difference:.1e}, limit 1e-6"
        rows.append(Row(f"CDTM {title}", fast, "ms", "expanded formula", slow, slow / fast, target, note=note))
    if peaks := peak_memory(mixing):
        slow, fast = peaks[0], max(peaks[1], MIN_PEAK_MIB)
        row = Row(
            "temporary arrays of CDTM mixing",
            fast,
            "MiB",
            "expanded formula",
            slow,
            slow / fast,
            MEMORY_TARGET,
            note="forward",
        )
        console.info(format_row(row))
        rows.append(row)
    return rows


def run(
    batch: Annotated[int, typer.Option(help="Images, B.")] = 8,
    tokens: Annotated[int, typer.Option(help="Tokens, N.")] = 196,
    channels: Annotated[int, typer.Option(help="Channels, C.")] = 768,
    centers: Annotated[int, typer.Option(help="Centers, K.")] = 300,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; medians are reported.")] = 9,
    save: Save = False,
) -> None:
    """Compare the expanded formula and the matrix product by time, memory and the difference of their results."""
    finish("cdtm", measure(batch, tokens, channels, centers, threads, rounds), save, show=False)


if __name__ == "__main__":
    program.run(run)
