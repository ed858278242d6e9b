"""Throughput of full fine-tuning with the training loop of MedTune, in several precisions and memory layouts."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.results import Row
from benchmarks.roofline import TRAINING, Roofline, synchronize
from benchmarks.steps import finetune
from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.models import classifier
from medtune.models.backbones import family
from medtune.serving.one_line import first_line
from medtune.training.inputs import PackedImageSource
from medtune.training.loop import LOG_EVERY
from medtune.training.memory import PeakMemory
from medtune.training.speed import CNN_FAMILIES, use_channels_last, use_compile

MIN_PERCENT = 40.0
TARGET_BACKBONE = "vit_base_patch16_224"
BASELINE, COMPILED, CHANNELS_LAST = "eager fp32", "torch.compile bf16", "eager bf16, channels last"
# Settings of section `finetune` by variant.
VARIANTS: dict[str, dict[str, Any]] = {
    BASELINE: {"precision": "fp32", "channels_last": False, "compile": False},
    "eager bf16": {"precision": "bf16", "channels_last": False, "compile": False},
    CHANNELS_LAST: {"precision": "bf16", "channels_last": True, "compile": False},
    COMPILED: {"precision": "bf16", "channels_last": "auto", "compile": True},
}


@dataclass
class Clock:
    """Callback that records the time every `LOG_EVERY` steps of the training loop, in place of W&B logging.

    Each call first waits until the device has finished the steps.

    Attributes:
        device: training device.
        ends: recorded times, seconds.
    """

    device: torch.device
    ends: list[float] = field(default_factory=list)

    def __call__(self, step: int, values: dict[str, float]) -> None:
        """Record the time, as `on_step` of the training loop."""
        synchronize(self.device)
        self.ends.append(time.perf_counter())

    @property
    def intervals(self) -> list[float]:
        """Seconds of each interval after the first, which is the warm-up."""
        return [after - before for before, after in pairwise(self.ends)]


@dataclass
class VariantResult:
    """Result of one variant.

    Attributes:
        seconds: seconds of each interval of `LOG_EVERY` steps.
        memory: peak memory in MiB.
        failure: reason why the variant could not be measured; empty after a success.
    """

    seconds: list[float] = field(default_factory=list)
    memory: float | None = None
    failure: str = ""


def variants_for(backbone: str) -> list[str]:
    """Return the names of the variants to measure for `backbone`. Only CNNs have the variant `CHANNELS_LAST`."""
    return [name for name in VARIANTS if name != CHANNELS_LAST or family(backbone) in CNN_FAMILIES]


def measure(
    params: Params,
    prepared: PreparedDataset,
    roofline: Roofline,
    device: torch.device,
    checkpoint_dir: Path,
    variants: Sequence[str],
    runs: int = 2,
    intervals: int = 3,
) -> list[Row]:
    """Measure images per second of each variant, relative to eager fp32 and to the roofline.

    Args:
        params: network and section `finetune`, in which each variant sets precision, layout and compiler.
        prepared: data.
        roofline: highest throughput of the network.
        device: training device.
        checkpoint_dir: folder for checkpoints; none are written.
        variants: keys of `VARIANTS`.
        runs: alternating runs of each variant; the first interval of a run is a warm-up.
        intervals: measured intervals of `LOG_EVERY` steps per run.

    Returns:
        Two rows per variant.
    """
    results = {name: VariantResult() for name in variants}
    for _ in range(runs):
        for name, result in results.items():
            if not result.failure:
                _run(result, name, params, prepared, device, checkpoint_dir, intervals)
    images = params.finetune.batch_size * LOG_EVERY
    rates = {name: None if result.failure else images / median(result.seconds) for name, result in results.items()}
    return [row for name, result in results.items() for row in _rows(name, result, rates, params, roofline)]


def _run(
    result: VariantResult,
    name: str,
    params: Params,
    prepared: PreparedDataset,
    device: torch.device,
    checkpoint_dir: Path,
    intervals: int,
) -> None:
    """Train one variant, and add its times, memory or failure to `result`."""
    options = params.finetune.model_copy(update=VARIANTS[name])
    variant_params = params.model_copy(update={"finetune": options})
    torch.compiler.reset()  # torch limits the number of compiled graphs, including graphs of earlier networks
    clock, peak = Clock(device), PeakMemory(str(device))
    channels_last = use_channels_last(options.channels_last, params.model.backbone, device)
    model = classifier.build(variant_params, len(prepared.classes)).to(device)
    if channels_last:
        model.to(memory_format=torch.channels_last)
    source = PackedImageSource(prepared, model, options.augment, device, channels_last)
    steps, compile_network = LOG_EVERY * (1 + intervals), bool(options.compile)
    try:
        if compile_network and device.type == "cuda" and not use_compile("auto", device):
            raise RuntimeError("torch.compile needs Triton and a C compiler")
        finetune(model, source, prepared, variant_params, steps, checkpoint_dir, clock, str(device), compile_network)
    except RuntimeError as error:  # out of memory, or a compiler error
        result.failure = first_line(error)
        return
    result.seconds += clock.intervals
    result.memory = peak.megabytes()


def _rows(
    name: str, result: VariantResult, rates: Mapping[str, float | None], params: Params, roofline: Roofline
) -> tuple[Row, Row]:
    backbone, batch = params.model.backbone, params.finetune.batch_size
    measurement = f"{backbone} at {params.data.image_size} px, training, batch {batch}: {name}"
    target = MIN_PERCENT if (backbone, name) == (TARGET_BACKBONE, COMPILED) else None
    rate, baseline = rates[name], rates.get(BASELINE)
    if rate is None:
        note = result.failure
        return Row(measurement, None, "images/s", note=note), Row(
            f"{measurement}, percentage of the roofline", None, "%", at_least=target, note=note
        )
    note = f"{1e3 * batch / rate:.1f} ms per step, including augmentation and averaged weights"
    note += "" if result.memory is None else f"; peak memory {result.memory / 1024:.1f} GiB"
    row = Row(measurement, rate, "images/s", note=note)
    if baseline is not None and name != BASELINE:
        row = replace(row, reference=BASELINE, reference_value=baseline, ratio=rate / baseline)
    percent = roofline.percent(rate, TRAINING)
    return row, Row(
        f"{measurement}, percentage of the roofline", percent, "%", at_least=target, note=roofline.note(TRAINING)
    )
