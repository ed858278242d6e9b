"""`python -m benchmarks.validation_memory`: peak memory of the validation of a volume during training.

A network predicts a volume of 197 x 233 x 189 voxels with 8 labels from windows of 64 x 64 x 64 voxels. The sums for
the validation Dice are computed slab by slab. The reference first collects the logits of the complete volume. The
network is a single convolution, which needs little memory. Each measurement runs in a new process. The weights are
random. The volume is random, too, unless `--volume` names a file.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.results import Row, Save, finish
from medtune.cli import program

SHAPE, PATCH = (197, 233, 189), (64, 64, 64)
LABELS, OVERLAP = 8, 0.5
MAX_RATIO = 0.5


class RandomMask:
    """Store of prepared volumes whose only mask is random."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._mask = np.random.default_rng(0).integers(0, LABELS + 1, shape, np.uint8)

    def mask(self, row: int) -> np.ndarray:
        """Return the mask (X, Y, Z), uint8."""
        return self._mask


def measure(volume: Path | None = None, shape: tuple[int, int, int] = SHAPE, rounds: int = 1) -> list[Row]:
    """Measure the memory that a validation adds, in slabs and with the complete volume.

    Args:
        volume: NIfTI file. None for random voxels.
        shape: voxels of a random volume.
        rounds: alternating runs of each variant; the highest peak is reported.

    Returns:
        One row.
    """
    peaks, sums = {True: 0.0, False: 0.0}, {}
    for _ in range(rounds):
        for in_slabs in peaks:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                peak, sums[in_slabs] = pool.submit(validate, in_slabs, volume, shape).result()
            peaks[in_slabs] = max(peaks[in_slabs], peak)
    slabs, complete = sums[True], sums[False]
    counted = slice(3 * LABELS, 6 * LABELS)  # numbers of voxels, from which the Dice is computed
    largest = (np.abs(slabs - complete) / np.maximum(complete, 1)).max()
    return [
        Row(
            "peak memory that the validation of a volume adds",
            peaks[True],
            "MiB",
            "logits of the complete volume",
            peaks[False],
            peaks[True] / peaks[False],
            at_most=MAX_RATIO,
            note=f"Dice {'equal' if np.array_equal(slabs[counted], complete[counted]) else 'NOT EQUAL'}; largest "
            f"relative difference of the sums for the loss {largest:.0e}",
        )
    ]


def validate(in_slabs: bool, file: Path | None, shape: tuple[int, int, int]) -> tuple[float, np.ndarray]:
    """Validate one volume. Return the memory that the validation added, in MiB, and the sums."""
    import torch

    from medtune.tasks.segmentation.objective import DiceCrossEntropy
    from medtune.tasks.segmentation.windowed import WindowedNetwork

    voxels = np.random.default_rng(1).normal(size=shape).astype(np.float32) if file is None else _read(file)
    volumes: Any = RandomMask(voxels.shape)
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, LABELS + 1, 1)
    goal = DiceCrossEntropy(volumes, tuple(map(str, range(LABELS))))
    row, before = torch.zeros(1, dtype=torch.int64), _status("VmRSS")
    with torch.inference_mode():
        output: Any = WindowedNetwork(network, PATCH, OVERLAP)(torch.from_numpy(voxels)[None, None])
        if not in_slabs:
            logits = torch.empty(1, LABELS + 1, *voxels.shape)
            for first, part in output:
                logits[0, :, first : first + part.shape[1]] = part
            output = logits
        sums = goal.summarize(output, row)[0].numpy()
    return _status("VmHWM") - before, sums


def _read(file: Path) -> np.ndarray:
    """Return the normalized voxels (X, Y, Z), float32."""
    import nibabel

    image: Any = nibabel.load(file)
    voxels = np.asarray(image.dataobj, np.float32)
    return np.asarray((voxels - voxels.mean()) / voxels.std())


def _status(name: str) -> float:
    """Return a value of /proc/self/status in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def run(
    volume: Annotated[Path | None, typer.Option(help="NIfTI file. Default: random voxels.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each; the highest peak is reported.")] = 1,
    save: Save = False,
) -> None:
    """Compare the peak memory of a validation in slabs with that of complete volumes."""
    finish("validation_memory", measure(volume, rounds=rounds), save)


if __name__ == "__main__":
    program.run(run)
