"""`python -m benchmarks.memory_flat`: peak memory of stage 1 on a set and on one eight times as large.

Each is `medtune stage frozen` in a process of its own, watched from outside. What counts is memory that
nothing else can have (RssAnon of /proc/PID/status): pages of the mapped image pack and feature store are files'
pages, which the kernel takes back when it wants them; they are shown in the note.
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

TIMES, WITHIN = 8, 1.1
EVERY_S = 0.02
TINY = ("schedule=frozen", "tracking.mode=disabled", "frozen.epochs=2", "frozen.patience=null", "data.image_size=64",
        "model.backbone_args={img_size: 64}")  # fmt: skip


@dataclass
class Peak:
    """Most memory a process held, MiB: its own, and with pages of mapped files."""

    own: float = 0.0
    resident: float = 0.0

    def see(self, process: int) -> None:
        """Looks at it once; one that has just ended is passed over."""
        try:
            lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
        except OSError:
            return
        found = {name: int(text.split()[0]) / 1024 for name, _, text in (line.partition(":") for line in lines)
                 if name in ("RssAnon", "VmHWM")}  # fmt: skip
        self.own = max(self.own, found.get("RssAnon", 0.0))
        self.resident = max(self.resident, found.get("VmHWM", 0.0))


def measure(sets: Sequence[str] = (), images: int = 240, times: int = TIMES, rounds: int = 1) -> list[Row]:
    """Peak memory at `times` the images against that at `images`.

    Args:
        sets: over the checkout's params.
        images: of the smaller set, a multiple of 40.
        times: how much larger the other is.
        rounds: runs of each, in turns; the highest counts.
    """
    peaks = {1: Peak(), times: Peak()}
    with TemporaryDirectory(prefix="medtune-") as folder:
        for number in range(rounds):
            for factor, peak in peaks.items():
                own = [*TINY, "data.patients=40", f"data.images_per_patient={images * factor // 40}", *sets]
                paths = RunPaths(Path(folder) / f"{factor}", Path(folder) / f"cache-{factor}-{number}")
                params = load(None, own)
                data.run(params, paths)
                check_network(params, paths)  # its export would count towards the peak
                _watch(own, paths, peak)
    small, large = peaks[1], peaks[times]
    more = (large.own - small.own) * 1024 / (images * (times - 1))
    return [
        Row(
            f"peak memory of stage 1, {images * times} images",
            large.own,
            "MiB",
            f"{images} images",
            small.own,
            large.own / small.own,
            at_most=WITHIN,
            note=f"{more:.1f} KiB an image; with mapped files' pages {large.resident:.0f} and {small.resident:.0f} MiB",
        )
    ]


def _watch(sets: Sequence[str], paths: RunPaths, peak: Peak) -> None:
    words = [word for text in sets for word in ("--set", text)]
    command = [sys.executable, "-m", "medtune", "stage", "frozen", *words, "--out", str(paths.out)]
    environment = {**os.environ, "MEDTUNE_CACHE": str(paths.cache), "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak.see(process.pid)
            time.sleep(EVERY_S)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} ended with {process.returncode}")


def run(
    sets: options.Overrides = None,
    images: Annotated[int, typer.Option(min=40, help="Of the smaller set, a multiple of 40.")] = 240,
    times: Annotated[int, typer.Option(min=2, help="How much larger the other is.")] = TIMES,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each; the highest peak counts.")] = 1,
    save: Save = False,
) -> None:
    """Compare stage 1's peak memory on a small set with that on a large one."""
    finish("memory_flat", measure(sets or (), images, times, rounds), save)


if __name__ == "__main__":
    program.run(run)
