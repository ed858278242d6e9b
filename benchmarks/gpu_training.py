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
from benchmarks.roofline import TRAINING, Ceiling, synchronize
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

SHARE = 40.0
OF_TARGET = "vit_base_patch16_224"
PLAIN, COMPILED, INNERMOST = "eager fp32", "torch.compile bf16", "eager bf16, channels last"
# Settings of section `finetune` by variant.
WAYS: dict[str, dict[str, Any]] = {
    PLAIN: {"precision": "fp32", "channels_last": False, "compile": False},
    "eager bf16": {"precision": "bf16", "channels_last": False, "compile": False},
    INNERMOST: {"precision": "bf16", "channels_last": True, "compile": False},
    COMPILED: {"precision": "bf16", "channels_last": "auto", "compile": True},
}


@dataclass
class Clock:
    """Callback of the training loop, in place of W&B logging, that records the time every `LOG_EVERY` steps.

    It waits until the device has finished the steps.

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
    def stretches(self) -> list[float]:
        """Seconds of each interval after the first, which is the warm-up."""
        return [after - before for before, after in pairwise(self.ends)]


@dataclass
class Found:
    """Result of one variant.

    Attributes:
        seconds: seconds of each interval of `LOG_EVERY` steps.
        memory: peak memory in MiB.
        refused: reason why the variant could not be measured; empty if it was.
    """

    seconds: list[float] = field(default_factory=list)
    memory: float | None = None
    refused: str = ""


def ways_for(backbone: str) -> list[str]:
    """Return the names of the variants to measure for `backbone`: channels last only for CNNs."""
    return [name for name in WAYS if name != INNERMOST or family(backbone) in CNN_FAMILIES]


def measure(
    params: Params,
    prepared: PreparedDataset,
    ceiling: Ceiling,
    device: torch.device,
    work: Path,
    ways: Sequence[str],
    turns: int = 2,
    stretches: int = 3,
) -> list[Row]:
    """Measure images per second of each variant, relative to eager fp32 and to the ceiling.

    Args:
        params: network and section `finetune`, in which each variant sets precision, layout and compiler.
        prepared: data.
        ceiling: highest throughput of the network.
        device: training device.
        work: folder for checkpoints; none are written.
        ways: names of `WAYS`.
        turns: alternating runs of each variant; the first interval of a run is a warm-up.
        stretches: measured intervals of 20 steps per run.

    Returns:
        Two rows per variant.
    """
    found = {name: Found() for name in ways}
    for _ in range(turns):
        for name, way in found.items():
            if not way.refused:
                _run(way, name, params, prepared, device, work, stretches)
    images = params.finetune.batch_size * LOG_EVERY
    rates = {name: None if way.refused else images / median(way.seconds) for name, way in found.items()}
    return [row for name, way in found.items() for row in _rows(name, way, rates, params, ceiling)]


def _run(
    way: Found, name: str, params: Params, prepared: PreparedDataset, device: torch.device, work: Path, stretches: int
) -> None:
    options = params.finetune.model_copy(update=WAYS[name])
    own = params.model_copy(update={"finetune": options})
    torch.compiler.reset()  # torch limits the number of compiled graphs, and those of earlier networks count
    clock, peak = Clock(device), PeakMemory(str(device))
    innermost = use_channels_last(options.channels_last, params.model.backbone, device)
    model = classifier.build(own, len(prepared.classes)).to(device)
    if innermost:
        model.to(memory_format=torch.channels_last)
    feed = PackedImageSource(prepared, model, options.augment, device, innermost)
    steps, through = LOG_EVERY * (1 + stretches), bool(options.compile)
    try:
        if through and device.type == "cuda" and not use_compile("auto", device):
            raise RuntimeError("torch.compile needs Triton and a C compiler")
        finetune(model, feed, prepared, own, steps, work, clock, str(device), through)
    except RuntimeError as error:  # out of memory, or a compiler error
        way.refused = first_line(error)
        return
    way.seconds += clock.stretches
    way.memory = peak.megabytes()


def _rows(
    name: str, way: Found, rates: Mapping[str, float | None], params: Params, ceiling: Ceiling
) -> tuple[Row, Row]:
    backbone, batch = params.model.backbone, params.finetune.batch_size
    what = f"{backbone} at {params.data.image_size}, training, batch {batch}: {name}"
    target = SHARE if (backbone, name) == (OF_TARGET, COMPILED) else None
    rate, plain = rates[name], rates.get(PLAIN)
    if rate is None:
        note = way.refused
        return Row(what, None, "images/s", note=note), Row(
            f"{what}, of the ceiling", None, "%", at_least=target, note=note
        )
    note = f"a step {1e3 * batch / rate:.1f} ms, augmentation and averaged weights included"
    note += "" if way.memory is None else f"; peak {way.memory / 1024:.1f} GiB"
    row = Row(what, rate, "images/s", note=note)
    if plain is not None and name != PLAIN:
        row = replace(row, reference=PLAIN, reference_value=plain, ratio=rate / plain)
    share = ceiling.share(rate, TRAINING)
    return row, Row(f"{what}, of the ceiling", share, "%", at_least=target, note=ceiling.note(TRAINING))
