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
from benchmarks.roofline import INFERENCE, Roofline
from medtune.export.fp16 import to_half
from medtune.export.latency import Predict, benchmark_interleaved
from medtune.export.onnx_graph import INPUT, to_onnx
from medtune.models.backbones import family
from medtune.serving.bundle import Bundle
from medtune.serving.manifest import BundleError
from medtune.serving.one_line import first_line
from medtune.serving.samples import SAMPLE_TOLERANCE
from medtune.serving.session import PROVIDERS, count_operators, open_session
from medtune.training.speed import CNN_FAMILIES, use_compile
from medtune.training.transfer import to_device

EAGER, COMPILED = "torch eager bf16", "torch.compile bf16"
# Targets: speedup over torch.compile, percentage of the roofline, smallest batch size that both targets apply to.
MIN_SPEEDUP, MIN_PERCENT, MIN_BATCH = 1.0, 50.0, 64
OPSET, COMPARED_IMAGES, WARM_UP = 20, 16, 3


class Bf16Model(nn.Module):
    """`InferenceModel` with weights and activations in bf16; preprocessing and softmax stay in fp32."""

    def __init__(self, model: InferenceModel, channels_last: bool) -> None:
        super().__init__()
        self.network, self.temperature = copy.deepcopy(model.network), float(model.temperature)
        for module in (self.network.backbone, self.network.head):
            module.to(torch.bfloat16)
        if channels_last:
            self.network.backbone.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Compute probabilities (B, classes) from uint8 images (B, H, W, 3)."""
        logits = self.network(self.network.preprocess(images).to(torch.bfloat16))
        return torch.softmax(logits.float() / self.temperature, dim=-1)


@dataclass
class Variant:
    """One variant of inference.

    Attributes:
        predict: function from uint8 images to probabilities; None if the variant cannot be measured.
        note: details of the variant, or the reason why it cannot be measured.
    """

    predict: Predict | None
    note: str = ""


def measure(
    model: InferenceModel,
    backbone: str,
    size: int,
    roofline: Roofline,
    device: torch.device,
    batches: Sequence[int],
    providers: Sequence[str] = ("cuda", "tensorrt"),
    torch_variants: Sequence[str] = (EAGER, COMPILED),
    rounds: int = 9,
) -> list[Row]:
    """Measure milliseconds for one image, and images per second and percentage of the roofline for larger batches.

    Args:
        model: network and temperature, on the CPU.
        backbone: timm name.
        size: side of the images, pixels.
        roofline: highest throughput of the network.
        device: device of torch.
        batches: batch sizes.
        providers: providers of the exported graph; an inactive one gives rows without values.
        torch_variants: torch variants, EAGER, COMPILED or both.
        rounds: interleaved rounds; medians are taken.

    Returns:
        Rows by batch size and variant.
    """
    images = np.random.default_rng(0).integers(0, 256, (max(*batches, COMPARED_IMAGES), size, size, 3), dtype=np.uint8)
    expected = np.asarray(_predictor(copy.deepcopy(model).to(device), device)(images[:COMPARED_IMAGES]))
    graph = to_half(to_onnx(model, size, OPSET, {})).SerializeToString() if providers else b""
    builders: dict[str, Callable[[], Variant]] = {
        EAGER: lambda: Variant(_predictor(_bf16(model, backbone, device), device)),
        COMPILED: lambda: _compiled(model, backbone, device),
        **{f"onnx fp16, {provider}": partial(_onnx, provider, graph, size) for provider in providers},
    }
    variants = {
        name: _build_and_warm_up(build, images, batches, expected, device)
        for name, build in builders.items()
        if name in torch_variants or name not in (EAGER, COMPILED)
    }
    seconds_by_batch = benchmark_interleaved(
        {name: variant.predict for name, variant in variants.items() if variant.predict}, images, batches, rounds
    )
    prefix = f"{backbone} at {size} px, inference, batch"
    return [
        row
        for batch, seconds in seconds_by_batch.items()
        for name, variant in variants.items()
        for row in _rows(f"{prefix} {batch}: {name}", name, variant, batch, seconds, roofline)
    ]


def _predictor(module: nn.Module, device: torch.device) -> Predict:
    """Return a function from images to probabilities in host memory that runs `module` on the device."""

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(module(to_device(torch.from_numpy(images), device)).cpu().numpy())

    return predict


def _bf16(model: InferenceModel, backbone: str, device: torch.device) -> Bf16Model:
    return Bf16Model(model, family(backbone) in CNN_FAMILIES).eval().to(device)


def _compiled(model: InferenceModel, backbone: str, device: torch.device) -> Variant:
    if device.type == "cuda" and not use_compile("auto", device):
        return Variant(None, "torch.compile needs Triton and a C compiler")
    torch.compiler.reset()  # torch limits the number of compiled graphs, including graphs of earlier networks
    network: nn.Module = torch.compile(_bf16(model, backbone, device), dynamic=False)  # type: ignore[assignment]
    return Variant(_predictor(network, device))


def _onnx(provider: str, graph: bytes, size: int) -> Variant:
    """Return the exported graph with an execution provider of onnxruntime as a variant."""
    try:
        session = open_session(graph, "model.fp16.onnx", provider, "fp16", input_name=(INPUT, size))
    except BundleError as error:
        return Variant(None, str(error))
    operator_counts = count_operators(session)
    operators = "operators: " + ", ".join(f"{count} by {name}" for name, count in operator_counts.items())
    if not operator_counts.get(PROVIDERS[provider]):
        return Variant(None, f"provider {provider} is active but runs no operator of the graph; {operators}")
    document = {
        "task": {"kind": "classification"},
        "classes": [str(k) for k in range(session.get_outputs()[0].shape[1])],
        "input": {"name": INPUT},
        "output": {"name": "probabilities"},
        "preprocessing": {"image_size": size, "resize": "squash"},
    }
    return Variant(Bundle(Path("bundle"), document, "fp16", session).run, operators)


def _build_and_warm_up(
    build: Callable[[], Variant],
    images: np.ndarray,
    batches: Sequence[int],
    expected: np.ndarray,
    device: torch.device,
) -> Variant:
    """Create a variant and run it with every batch size. `predict` is None if it fails or returns wrong values."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    free_before = _free_bytes(device)
    variant = build()
    if variant.predict is None:
        return variant
    try:
        probabilities = np.asarray(variant.predict(images[: len(expected)]))
        for batch in batches:
            for _ in range(WARM_UP):
                variant.predict(images[:batch])
    except Exception as error:  # out of memory, compiler errors, and many classes of onnxruntime
        return Variant(None, first_line(error))
    difference = float(np.abs(probabilities - expected).max())
    if not difference <= SAMPLE_TOLERANCE["fp16"]:
        return Variant(None, f"the probabilities differ from those of the network by up to {difference:.2g}")
    notes = [f"the probabilities differ from fp32 by up to {difference:.1g}"]
    if device.type == "cuda":
        notes.append(f"uses {(free_before - _free_bytes(device)) / 2**30:.2f} GiB of GPU memory")
    variant.note = "; ".join(filter(None, (*notes, variant.note)))
    return variant


def _free_bytes(device: torch.device) -> int:
    """Return the free bytes of the GPU, without the caches of torch and onnxruntime."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def _rows(
    measurement: str, name: str, variant: Variant, batch: int, seconds: Mapping[str, float], roofline: Roofline
) -> list[Row]:
    exported = name not in (EAGER, COMPILED)
    has_target = exported and batch >= MIN_BATCH
    unit = "ms" if batch == 1 else "images/s"
    percent = Row(f"{measurement}, percentage of the roofline", None, "%", at_least=MIN_PERCENT if has_target else None)
    if name not in seconds:
        note = variant.note
        return [Row(measurement, None, unit, note=note), *([] if batch == 1 else [replace(percent, note=note)])]

    def convert(duration: float) -> float:
        return 1e3 * duration if batch == 1 else batch / duration

    row = Row(measurement, convert(seconds[name]), unit, note=variant.note)
    if exported and COMPILED in seconds:
        ratio = seconds[COMPILED] / seconds[name]
        row = replace(row, reference=COMPILED, reference_value=convert(seconds[COMPILED]), ratio=ratio,
                      at_least=MIN_SPEEDUP if has_target else None)  # fmt: skip
    if batch == 1:
        return [row]
    value = roofline.percent(batch / seconds[name], INFERENCE)
    return [row, replace(percent, value=value, note=roofline.note(INFERENCE))]
