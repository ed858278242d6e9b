"""Time of inference on a GPU from uint8 images to probabilities, with torch and with the exported fp16 graph.

Images and probabilities are in host memory, so every variant includes the copies to and from the GPU. The graph runs
through `medtune.serving.bundle` with bound buffers, as in production. torch runs in bf16 except for preprocessing and
softmax.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.inference_model import InferenceModel
from benchmarks.results import Row
from benchmarks.roofline import INFERENCE, Ceiling
from medtune.export.fp16 import to_half
from medtune.export.latency import Predict, benchmark_interleaved
from medtune.export.onnx_graph import INPUT, to_onnx
from medtune.models.backbones import family
from medtune.serving.bundle import SAMPLE_TOLERANCE, Bundle
from medtune.serving.manifest import BundleError
from medtune.serving.one_line import first_line
from medtune.serving.session import PROVIDERS, count_operators, open_session
from medtune.training.speed import CNN_FAMILIES, use_compile
from medtune.training.transfer import to_device

EAGER, COMPILED = "torch eager bf16", "torch.compile bf16"
FASTER, SHARE, FROM = (
    1.0,
    50.0,
    64,
)  # speedup over torch.compile, percent of the ceiling, smallest batch of both targets
OPSET, COMPARED, WARM_UP = 20, 16, 3


class InBf16(nn.Module):
    """`InferenceModel` with weights and activations in bf16; preprocessing and softmax stay in fp32."""

    def __init__(self, model: InferenceModel, innermost: bool) -> None:
        super().__init__()
        self.network, self.temperature = copy.deepcopy(model.network), float(model.temperature)
        for part in (self.network.backbone, self.network.head):
            part.to(torch.bfloat16)
        if innermost:
            self.network.backbone.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Compute probabilities (B, classes) from uint8 images (B, H, W, 3)."""
        logits = self.network(self.network.preprocess(images).to(torch.bfloat16))
        return torch.softmax(logits.float() / self.temperature, dim=-1)


@dataclass
class Way:
    """One variant of inference.

    Attributes:
        ask: function from uint8 images to probabilities; None if the variant cannot be measured.
        note: details of the variant, or the reason why it cannot be measured.
    """

    ask: Predict | None
    note: str = ""


def measure(
    model: InferenceModel,
    backbone: str,
    size: int,
    ceiling: Ceiling,
    device: torch.device,
    batches: Sequence[int],
    providers: Sequence[str] = ("cuda", "tensorrt"),
    through: Sequence[str] = (EAGER, COMPILED),
    rounds: int = 9,
) -> list[Row]:
    """Measure milliseconds for one image, and images per second and percent of the ceiling for larger batches.

    Args:
        model: network and temperature, on the CPU.
        backbone: timm name.
        size: side of the images, pixels.
        ceiling: highest throughput of the network.
        device: device of torch.
        batches: batch sizes.
        providers: providers of the exported graph; an inactive one gives rows without values.
        through: torch variants, EAGER, COMPILED or both.
        rounds: interleaved rounds; medians are taken.

    Returns:
        Rows by batch size and variant.
    """
    images = np.random.default_rng(0).integers(0, 256, (max(*batches, COMPARED), size, size, 3), dtype=np.uint8)
    expected = np.asarray(_asking(copy.deepcopy(model).to(device), device)(images[:COMPARED]))
    graph = to_half(to_onnx(model, size, OPSET, {})).SerializeToString() if providers else b""
    makers: dict[str, Callable[[], Way]] = {
        EAGER: lambda: Way(_asking(_bf16(model, backbone, device), device)),
        COMPILED: lambda: _compiled(model, backbone, device),
        **{f"onnx fp16, {provider}": partial(_onnx, provider, graph, size) for provider in providers},
    }
    ways = {
        name: _warmed_up(make, images, batches, expected, device)
        for name, make in makers.items()
        if name in through or name not in (EAGER, COMPILED)
    }
    found = benchmark_interleaved({name: way.ask for name, way in ways.items() if way.ask}, images, batches, rounds)
    what = f"{backbone} at {size}, inference, batch"
    return [
        row
        for batch, seconds in found.items()
        for name, way in ways.items()
        for row in _rows(f"{what} {batch}: {name}", name, way, batch, seconds, ceiling)
    ]


def _asking(module: nn.Module, device: torch.device) -> Predict:
    def ask(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(module(to_device(torch.from_numpy(images), device)).cpu().numpy())

    return ask


def _bf16(model: InferenceModel, backbone: str, device: torch.device) -> InBf16:
    return InBf16(model, family(backbone) in CNN_FAMILIES).eval().to(device)


def _compiled(model: InferenceModel, backbone: str, device: torch.device) -> Way:
    if device.type == "cuda" and not use_compile("auto", device):
        return Way(None, "torch.compile needs Triton and a C compiler")
    torch.compiler.reset()  # torch limits the number of compiled graphs, and those of earlier networks count
    network: nn.Module = torch.compile(_bf16(model, backbone, device), dynamic=False)  # type: ignore[assignment]
    return Way(_asking(network, device))


def _onnx(provider: str, graph: bytes, size: int) -> Way:
    try:
        session = open_session(graph, "model.fp16.onnx", provider, "fp16", input_name=(INPUT, size))
    except BundleError as error:
        return Way(None, str(error))
    placed = count_operators(session)
    said = "operators: " + ", ".join(f"{count} by {name}" for name, count in placed.items())
    if not placed.get(PROVIDERS[provider]):
        return Way(None, f"{provider} is active and computes no operator; {said}")
    document = {
        "task": {"kind": "classification"},
        "classes": [str(k) for k in range(session.get_outputs()[0].shape[1])],
        "input": {"name": INPUT},
        "output": {"name": "probabilities"},
        "preprocessing": {"image_size": size, "resize": "squash"},
    }
    return Way(Bundle(Path("bundle"), document, "fp16", session).run, said)


def _warmed_up(
    make: Callable[[], Way],
    images: np.ndarray,
    batches: Sequence[int],
    expected: np.ndarray,
    device: torch.device,
) -> Way:
    """Create a variant and warm it up with every batch size. If it fails or its output is wrong, `ask` is None."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    before = _free(device)
    way = make()
    if way.ask is None:
        return way
    try:
        found = np.asarray(way.ask(images[: len(expected)]))
        for batch in batches:
            for _ in range(WARM_UP):
                way.ask(images[:batch])
    except Exception as error:  # out of memory, compiler errors, and many classes of onnxruntime
        return Way(None, first_line(error))
    off = float(np.abs(found - expected).max())
    if not off <= SAMPLE_TOLERANCE["fp16"]:
        return Way(None, f"its probabilities are {off:.2g} off the network's")
    held = f"holds {(before - _free(device)) / 2**30:.2f} GiB of the GPU" if device.type == "cuda" else ""
    way.note = "; ".join(filter(None, (f"probabilities within {off:.1g} of fp32's", held, way.note)))
    return way


def _free(device: torch.device) -> int:
    """Return the free bytes of the GPU, without the caches of torch and onnxruntime."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def _rows(what: str, name: str, way: Way, batch: int, seconds: Mapping[str, float], ceiling: Ceiling) -> list[Row]:
    exported = name not in (EAGER, COMPILED)
    aimed = exported and batch >= FROM
    unit = "ms" if batch == 1 else "images/s"
    share = Row(f"{what}, of the ceiling", None, "%", at_least=SHARE if aimed else None)
    if name not in seconds:
        note = way.note
        return [Row(what, None, unit, note=note), *([] if batch == 1 else [replace(share, note=note)])]

    def metric(taken: float) -> float:
        return 1e3 * taken if batch == 1 else batch / taken

    row = Row(what, metric(seconds[name]), unit, note=way.note)
    if exported and COMPILED in seconds:
        ratio = seconds[COMPILED] / seconds[name]
        row = replace(row, reference=COMPILED, reference_value=metric(seconds[COMPILED]), ratio=ratio,
                      at_least=FASTER if aimed else None)  # fmt: skip
    if batch == 1:
        return [row]
    value = ceiling.share(batch / seconds[name], INFERENCE)
    return [row, replace(share, value=value, note=ceiling.note(INFERENCE))]
