"""`python -m benchmarks.memory_flat`: compare the peak memory of stage 1 on a data set and one eight times as large.

Each run is `medtune stage frozen` in a separate process. The target refers to anonymous memory (RssAnon of
/proc/PID/status). It excludes pages of memory-mapped files, which the kernel can reclaim. The note of the result shows
the memory with these pages.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.results import Row, Save, finish
from medtune.cli import options, program
from medtune.config.load import load
from medtune.config.project import PROJECT
from medtune.runtime.paths import RunPaths
from medtune.stages import data
from medtune.stages.dry_run import check_network

FACTOR, MAX_RATIO = 8, 1.1  # ratio of the numbers of images, target for the ratio of the peaks
SAMPLING_INTERVAL_S = 0.02
TINY = ("schedule=frozen", "tracking.mode=disabled", "frozen.epochs=2", "frozen.patience=null", "data.image_size=64",
        "model.backbone_args={img_size: 64}")  # fmt: skip


@dataclass
class Peak:
    """Peak memory of a process in MiB.

    Attributes:
        anonymous: peak without pages of memory-mapped files.
        resident: peak with these pages.
    """

    anonymous: float = 0.0
    resident: float = 0.0

    def update(self, process: int) -> None:
        """Read the current memory; does nothing if the process has ended."""
        try:
            lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
        except OSError:
            return
        usage = {name: int(text.split()[0]) / 1024 for name, _, text in (line.partition(":") for line in lines)
                 if name in ("RssAnon", "VmHWM")}  # fmt: skip
        self.anonymous = max(self.anonymous, usage.get("RssAnon", 0.0))
        self.resident = max(self.resident, usage.get("VmHWM", 0.0))


def measure(sets: Sequence[str] = (), images: int = 240, times: int = FACTOR, rounds: int = 1) -> list[Row]:
    """Measure the peak memory for a data set and for one with `times` as many images.

    Args:
        sets: `--set` values.
        images: images of the smaller data set, a multiple of 40.
        times: factor of the larger data set.
        rounds: alternating runs with each data set; the highest peak is reported.

    Returns:
        One row.
    """
    peaks = {1: Peak(), times: Peak()}
    with TemporaryDirectory(prefix="medtune-") as folder:
        for number in range(rounds):
            for factor, peak in peaks.items():
                run_sets = [*TINY, "data.patients=40", f"data.images_per_patient={images * factor // 40}", *sets]
                paths = RunPaths(Path(folder) / f"{factor}", Path(folder) / f"cache-{factor}-{number}")
                params = load(None, run_sets)
                data.run(params, paths)
                check_network(params, paths)  # its trial export must not be part of the measured peak
                _run_and_sample(run_sets, paths, peak)
    small, large = peaks[1], peaks[times]
    growth_kib = (large.anonymous - small.anonymous) * 1024 / (images * (times - 1))
    return [
        Row(
            f"peak memory of stage 1, {images * times} images",
            large.anonymous,
            "MiB",
            f"{images} images",
            small.anonymous,
            large.anonymous / small.anonymous,
            at_most=MAX_RATIO,
            note=f"{growth_kib:.1f} KiB per image; with pages of memory-mapped files {large.resident:.0f} MiB "
            f"against {small.resident:.0f} MiB",
        )
    ]


def _run_and_sample(sets: Sequence[str], paths: RunPaths, peak: Peak) -> None:
    """Run stage 1 in a process and update `peak` until the process ends."""
    set_options = [option for text in sets for option in ("--set", text)]
    command = [sys.executable, "-m", "medtune", "stage", "frozen", *set_options, "--out", str(paths.out)]
    environment = {**os.environ, "MEDTUNE_CACHE": str(paths.cache), "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak.update(process.pid)
            time.sleep(SAMPLING_INTERVAL_S)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} exited with code {process.returncode}")


def run(
    sets: options.Overrides = None,
    images: Annotated[int, typer.Option(min=40, help="Images of the smaller data set, a multiple of 40.")] = 240,
    times: Annotated[int, typer.Option(min=2, help="Factor of the larger data set.")] = FACTOR,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each; the highest peak is reported.")] = 1,
    save: Save = False,
) -> None:
    """Compare the peak memory of stage 1 on a small and a large data set."""
    finish("memory_flat", measure(sets or (), images, times, rounds), save)


if __name__ == "__main__":
    program.run(run)
