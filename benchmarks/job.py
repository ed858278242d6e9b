"""`python -m benchmarks.job`: time `dvc repro` on the synthetic data set, and Prefect's part of it.

`dvc repro` runs in a copy of the checkout with a new Prefect database, and again after a change in section `evaluate`.
Prefect's part is the difference between `medtune train` and `medtune train --no-prefect` when every step is cached. It
is measured with a new and with an existing Prefect database.
"""

import shutil
from collections.abc import Sequence
from statistics import median
from typing import Annotated

import typer

from benchmarks.checkout import Checkout, copied
from benchmarks.results import Row, Save, finish
from medtune.cli import options, program

JOB_S, NEW_S, LATER_S = 180.0, 35.0, 15.0
CHANGE = "evaluate.reliability_bins=14"
FLOW = ("python", "-m", "medtune", "train")


def measure(sets: Sequence[str] = (), rounds: int = 3) -> list[Row]:
    """Measure the seconds of the job, of the job after a change in section `evaluate`, and of Prefect's part.

    Args:
        sets: `--set` values for a smaller job.
        rounds: runs of the flow on cached steps; medians are reported.

    Returns:
        One row per measurement.
    """
    with copied(sets) as copy:
        printed, whole = copy.run("dvc", "repro")
        _expect(printed, "running", 4)
        copy.run("python", "-m", "medtune", "params", "set", CHANGE)
        printed, changed = copy.run("dvc", "repro")
        _expect(printed, "running", 2)
        taken: dict[str, list[float]] = {"direct": [], "new": [], "later": []}
        for _ in range(rounds):
            taken["direct"].append(_cached(copy, "--no-prefect"))
            shutil.rmtree(copy.folder / ".cache" / "prefect")
            taken["new"].append(_cached(copy))
            taken["later"].append(_cached(copy))
    direct, new, later = (median(taken[name]) for name in ("direct", "new", "later"))
    against = "the flow on cached steps less the same without Prefect"
    return [
        Row("main job, new Prefect database", whole, "s", at_most=JOB_S, note=", ".join(sets) or "embedded default"),
        Row("main job again, an evaluate value changed", changed, "s", note="data, frozen and finetune cached"),
        Row("of it Prefect, new database", new - direct, "s", at_most=NEW_S, note=against),
        Row("of it Prefect, later", later - direct, "s", at_most=LATER_S, note=against),
    ]


def _cached(copy: Checkout, *words: str) -> float:
    printed, seconds = copy.run(*FLOW, *words)
    _expect(printed, "cached", 4)
    return seconds


def _expect(printed: str, state: str, times: int) -> None:
    if (found := printed.count(f": {state} (key ")) != times or "continuing without it" in printed:
        raise RuntimeError(f"{found} steps were {state}, expected {times}:\n{printed}")


def run(
    sets: options.Overrides = None,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of the flow on cached steps; medians are reported.")] = 3,
    save: Save = False,
) -> None:
    """Time the complete job and Prefect's part of it."""
    finish("job", measure(sets or (), rounds), save)


if __name__ == "__main__":
    program.run(run)
