"""`python -m benchmarks.inputs`: compare the packed data set with decoding image files in every epoch.

Files are decoded with `medtune.serving.decode`. The packed data set is read in batches from a memory-mapped file. The
command also measures the fraction of a fine-tuning step that reading and augmentation take.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor

from benchmarks.results import Row, Save, finish
from benchmarks.steps import finetune
from benchmarks.synthetic_images import Backbone, backbone_overrides, benchmark_params, prepare
from benchmarks.timing import time_alternately
from medtune.cli import options, program
from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.config.training import AugmentParams
from medtune.data.manifest import PreparedDataset
from medtune.data.sources import synthetic
from medtune.models import classifier
from medtune.serving.decode import SUFFIXES, decode
from medtune.serving.resize import resize_square
from medtune.tasks.base import SpatialTransform
from medtune.training.augmentation import augment
from medtune.training.inputs import PackedImageSource
from medtune.training.replicas import ALL_ROWS

WIDTH, HEIGHT = 700, 460  # BreakHis
SIDE, BATCH = 224, 16
MIN_SPEEDUP, MAX_PERCENT = 10.0, 5.0


class TimedSource(PackedImageSource):
    """Source that measures the seconds for training batches.

    Attributes:
        seconds: total time, including augmentation.
        reading: time for reading alone.
    """

    seconds, reading = 0.0, 0.0

    def _load(self, indices: np.ndarray) -> Tensor:
        start = time.perf_counter()
        images = super()._load(indices)
        self.reading += time.perf_counter() - start
        return images

    def train(
        self, indices: np.ndarray, generator: torch.Generator, selected: slice = ALL_ROWS
    ) -> tuple[Tensor, SpatialTransform]:
        """Return a training batch, as `PackedImageSource.train`."""
        start = time.perf_counter()
        batch = super().train(indices, generator, selected)
        self.seconds += time.perf_counter() - start
        return batch


def measure(
    params_file: Path | None = None,
    networks: Sequence[Sequence[str]] = ((),),
    images: Path | None = None,
    count: int = 64,
    rounds: int = 5,
    steps: int = 20,
) -> list[Row]:
    """Measure images per second of reading and decoding, and the percentage of a training step for the input.

    Args:
        params_file: overlay of the checkout's params; None: a small synthetic data set.
        networks: `--set` values of each network to fine-tune.
        images: folder of image files; None: synthetic PNG files of 700 x 460 pixels.
        count: number of images.
        rounds: alternating epochs of each pipeline.
        steps: steps of fine-tuning.

    Returns:
        Rows of reading and decoding, then rows of the networks.
    """
    with TemporaryDirectory(prefix="medtune-") as folder:
        files = _files(images, Path(folder) / "files", count)
        rows = _pipeline_rows(files, Path(folder), rounds)
        for sets in networks:
            params = benchmark_params(params_file, sets, {"schedule": "full"})
            rows += _step_rows(params, prepare(params, Path(folder))[1], steps, Path(folder) / "work")
    return rows


def _files(images: Path | None, folder: Path, count: int) -> list[Path]:
    """Return at most `count` image files of the folder `images`, or draw `count` files in `folder`."""
    if images is not None:
        image_files = sorted(path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES)[:count]
        if not image_files:
            raise InputError(f"--images {images}: the folder contains no image file")
        return image_files
    folder.mkdir()
    files = []
    for number in range(count):
        tissue = synthetic.TISSUES[number % len(synthetic.TISSUES)]
        pixels = synthetic.draw(tissue, number % 8, number // 8, WIDTH, 1.0, 1)[:HEIGHT]
        files.append(folder / f"{number}.png")
        Image.fromarray(pixels).save(files[-1])
    return files


def _pipeline_rows(files: Sequence[Path], folder: Path, rounds: int) -> list[Row]:
    packed = np.lib.format.open_memmap(folder / "pack.npy", "w+", np.uint8, (len(files), SIDE, SIDE, 3))
    for row, file in enumerate(files):
        packed[row] = resize_square(decode(file).pixels, SIDE, "squash")
    packed.flush()
    pack = np.load(folder / "pack.npy", mmap_mode="r")
    order = np.random.default_rng(0).permutation(len(files))
    batches = [order[start : start + BATCH] for start in range(0, len(files), BATCH)]
    generator, params = torch.Generator().manual_seed(0), AugmentParams()

    def decoded(rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.stack([resize_square(decode(files[row]).pixels, SIDE, "squash") for row in rows]))

    def read(rows: np.ndarray) -> Tensor:
        return torch.from_numpy(pack[rows])

    seconds = time_alternately(
        {
            "decode": lambda: [decoded(rows) for rows in batches],
            "read": lambda: [read(rows) for rows in batches],
            "decode and augment": lambda: [augment(decoded(rows), params, generator) for rows in batches],
            "read and augment": lambda: [augment(read(rows), params, generator) for rows in batches],
        },
        rounds,
    )
    rate = {name: len(files) / duration for name, duration in seconds.items()}
    with Image.open(files[0]) as first:
        size = f"{first.width} x {first.height} {first.format} to {SIDE} x {SIDE}, one process"
    rate_ratio = rate["read and augment"] / rate["decode"]
    return [
        Row("reading images from the packed data set", rate["read"], "images/s", "decoding and resizing",
            rate["decode"], rate["read"] / rate["decode"], MIN_SPEEDUP, note=size),
        Row("reading and augmenting", rate["read and augment"], "images/s", "decoding, resizing and augmenting",
            rate["decode and augment"], rate["read and augment"] / rate["decode and augment"],
            note=f"both sides use the same augmentation; {rate_ratio:.2g}x the rate of decoding without augmentation"),
    ]  # fmt: skip


def _step_rows(params: Params, prepared: PreparedDataset, steps: int, checkpoint_dir: Path) -> list[Row]:
    model = classifier.build(params, len(prepared.classes))
    source = TimedSource(prepared, model, params.finetune.augment, torch.device("cpu"))
    finetune(model, source, prepared, params, 2, checkpoint_dir)  # warms up
    source.seconds = source.reading = 0.0
    state = finetune(model, source, prepared, params, steps, checkpoint_dir)
    step_ms, name = state.seconds / state.step * 1e3, f"{params.model.backbone} at {params.data.image_size} px"
    note = f"fine-tuning {name}, batch {params.finetune.batch_size}, {step_ms:.1f} ms per step"
    total, reading = (100 * seconds / state.seconds for seconds in (source.seconds, source.reading))
    return [
        Row("reading, percentage of a fine-tuning step", reading, "%", at_most=MAX_PERCENT, note=note),
        Row("reading, augmenting and normalizing, percentage of a fine-tuning step", total, "%",
            at_most=MAX_PERCENT, note=note),
    ]  # fmt: skip


def run(
    params: options.ParamsFile = None,
    sets: options.Overrides = None,
    backbone: Backbone = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Image files to decode; default: synthetic ones.")
    ] = None,
    count: Annotated[int, typer.Option(help="Images.")] = 64,
    rounds: Annotated[int, typer.Option(help="Alternating epochs of each pipeline; medians are reported.")] = 5,
    steps: Annotated[int, typer.Option(help="Steps of fine-tuning.")] = 20,
    save: Save = False,
) -> None:
    """Compare reading the packed data set with decoding files, and measure the input's part of a training step."""
    networks = [sets or (), *([[*backbone_overrides(backbone), *(sets or ())]] if backbone else [])]
    finish("inputs", measure(params, networks, images, count, rounds, steps), save)


if __name__ == "__main__":
    program.run(run)
