"""`python -m benchmarks.suite`: every benchmark, each in a process of its own, into benchmarks/results/.

Sizes are chosen so that all of it takes a quarter of an hour on two cores. A figure that misses its target is said,
and is no error; a benchmark that breaks is.
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
    "inputs": DEIT,
    "inference": ("--rounds", "5"),
    "tracking": (),
    "orchestration": (),
    "job": (),
    "evaluation": DEIT,
    "stage1": (*DEIT, "--set", "data.images_per_patient=8", "--epochs", "3"),
}


def run(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(COMMANDS)}; all by default.")] = None,
) -> None:
    """Measure every figure that docs/performance.md claims of a CPU."""
    for name in names or ():
        if name not in COMMANDS:
            known = list(COMMANDS)
            raise InputError(f"{name!r} is no benchmark{suggestion(name, known)}; choose from: {', '.join(known)}")
    begun, broken = time.monotonic(), []
    for name in names or COMMANDS:
        console.info(f"== {name}")
        start = time.monotonic()
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *COMMANDS[name], "--save"], cwd=PROJECT)
        console.info(f"== {name}: {time.monotonic() - start:.0f} s")
        if done.returncode:
            broken.append(name)
    missed = [figure for name in names or COMMANDS if name not in broken for figure in _missed(name)]
    console.info(
        f"{time.monotonic() - begun:.0f} s; {len(missed)} targets missed{': ' if missed else ''}{'; '.join(missed)}"
    )
    if broken:
        print(f"error: {', '.join(broken)} broke", file=sys.stderr)
        raise SystemExit(1)


def _missed(name: str) -> list[str]:
    with (results.RESULTS / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return [f"{row['what']} ({row['target']})" for row in csv.DictReader(stream) if row["met"] == "no"]


if __name__ == "__main__":
    program.run(run)
