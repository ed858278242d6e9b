"""`python -m benchmarks.suite`: run every CPU benchmark and write the results to benchmarks/results/.

Each benchmark runs in a separate process. All benchmarks together take about 15 minutes on two cores. Missed targets
are printed, but the exit code is 0. If a benchmark fails, the exit code is 1.
"""

import csv
import subprocess
import sys
import time
from typing import Annotated

import typer

from benchmarks import results
from medtune.cli import program
from medtune.config.errors import InputError, suggestion
from medtune.config.project import PROJECT
from medtune.runtime import console

DEIT = ("--backbone", "deit_tiny_patch16_224")
COMMANDS: dict[str, tuple[str, ...]] = {
    "cdtm": (),
    "startup": (),
    "memory_flat": (),
    "validation_memory": (),
    "inputs": DEIT,
    "inference": ("--rounds", "5"),
    "tracking": (),
    "orchestration": (),
    "job": (),
    "evaluation": DEIT,
    "stage1": (*DEIT, "--set", "data.images_per_patient=8", "--epochs", "3"),
}


def run(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"One or more of {', '.join(COMMANDS)}; all by default.")
    ] = None,
) -> None:
    """Repeat every CPU measurement of docs/performance.md."""
    for name in names or ():
        if name not in COMMANDS:
            known = list(COMMANDS)
            raise InputError(f"{name!r} is not a benchmark{suggestion(name, known)}; choose from: {', '.join(known)}")
    start_time, failed = time.monotonic(), []
    for name in names or COMMANDS:
        console.info(f"== {name}")
        start = time.monotonic()
        process = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *COMMANDS[name], "--save"], cwd=PROJECT)
        console.info(f"== {name}: {time.monotonic() - start:.0f} s")
        if process.returncode:
            failed.append(name)
    missed = [target for name in names or COMMANDS if name not in failed for target in _missed(name)]
    console.info(
        f"{time.monotonic() - start_time:.0f} s; {len(missed)} targets missed"
        f"{': ' if missed else ''}{'; '.join(missed)}"
    )
    if failed:
        print(f"error: {', '.join(failed)} failed", file=sys.stderr)
        raise SystemExit(1)


def _missed(name: str) -> list[str]:
    """Return the measurements of a benchmark that missed their targets."""
    with (results.RESULTS / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return [f"{row['measurement']} ({row['target']})" for row in csv.DictReader(stream) if row["met"] == "no"]


if __name__ == "__main__":
    program.run(run)
