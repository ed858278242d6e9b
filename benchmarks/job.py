"""`python -m benchmarks.job`: time `dvc repro` on the synthetic data set, and the overhead of Prefect.

`dvc repro` runs in a copy of the checkout with a new Prefect database, and again after a change in section `evaluate`.
The overhead is the difference between `medtune train` and `medtune train --no-prefect` when every step is cached. It is
measured with a new and with an existing Prefect database.
"""

import shutil
from collections.abc import Sequence
from statistics import median
from typing import Annotated

import typer

from benchmarks.checkout import Checkout, copied_checkout
from benchmarks.results import Row, Save, finish
from medtune.cli import options, program

JOB_S, NEW_DATABASE_S, EXISTING_DATABASE_S = 180.0, 35.0, 15.0
CHANGE = "evaluate.reliability_bins=14"
FLOW = ("python", "-m", "medtune", "train")


def measure(sets: Sequence[str] = (), rounds: int = 3) -> list[Row]:
    """Measure the seconds of the job, of the job after a change in section `evaluate`, and of Prefect's overhead.

    Args:
        sets: `--set` values for a smaller job.
        rounds: runs of the flow on cached steps; medians are reported.

    Returns:
        One row per measurement.
    """
    with copied_checkout(sets) as checkout:
        output, complete = checkout.run("dvc", "repro")
        _expect(output, "running", 4)
        checkout.run("python", "-m", "medtune", "params", "set", CHANGE)
        output, changed = checkout.run("dvc", "repro")
        _expect(output, "running", 2)
        durations: dict[str, list[float]] = {"direct": [], "new": [], "existing": []}
        for _ in range(rounds):
            durations["direct"].append(_time_cached_run(checkout, "--no-prefect"))
            shutil.rmtree(checkout.folder / ".cache" / "prefect")
            durations["new"].append(_time_cached_run(checkout))
            durations["existing"].append(_time_cached_run(checkout))
    direct, new, existing = (median(durations[name]) for name in ("direct", "new", "existing"))
    difference = "all steps cached; time of the flow minus time without Prefect"
    return [
        Row("default job, new Prefect database", complete, "s", at_most=JOB_S,
            note=", ".join(sets) or "default params"),
        Row("default job after a change in section evaluate of the params", changed, "s",
            note="data, frozen and finetune are cached"),
        Row("overhead of Prefect, new database", new - direct, "s", at_most=NEW_DATABASE_S, note=difference),
        Row("overhead of Prefect, existing database", existing - direct, "s", at_most=EXISTING_DATABASE_S,
            note=difference),
    ]  # fmt: skip


def _time_cached_run(checkout: Checkout, *arguments: str) -> float:
    """Return the seconds of `medtune train` when every step is cached."""
    output, seconds = checkout.run(*FLOW, *arguments)
    _expect(output, "cached", 4)
    return seconds


def _expect(output: str, state: str, times: int) -> None:
    """Raise RuntimeError unless the output reports `times` steps in a state, such as `cached`."""
    if (count := output.count(f": {state} (key ")) != times or "continuing without it" in output:
        raise RuntimeError(f"{count} steps were {state}, expected {times}:\n{output}")


def run(
    sets: options.Overrides = None,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of the flow on cached steps; medians are reported.")] = 3,
    save: Save = False,
) -> None:
    """Time the complete job and Prefect's part of it."""
    finish("job", measure(sets or (), rounds), save)


if __name__ == "__main__":
    program.run(run)
