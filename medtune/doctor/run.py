"""`python -m medtune.doctor.run`: whether this machine can do the run that params.yaml names, before it begins."""

from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from medtune.config.load import load
from medtune.doctor import (
    checkout,
    data,
    device,
    estimate,
    folders,
    machine,
    packages,
    prefect_server,
    stores,
    tracking,
    weights,
)
from medtune.doctor.result import Finding, Job, wrong
from medtune.runtime import console
from medtune.runtime.console import say
from medtune.runtime.paths import Paths
from medtune.serving.one_line import first_line

# The order matters: a check adds to `job.facts` (images, weights, time, disk) what later checks use.
CHECKS: dict[str, Callable[[Job], Finding | list[Finding]]] = {
    "python": packages.python,
    "packages": packages.packages,
    "device": device.device,
    "threads": machine.threads,
    "git": checkout.git,
    "lock": checkout.lock,
    "data": data.data,
    "weights": weights.weights,
    "hub": weights.hub,
    "estimate": estimate.estimate,
    "memory": machine.memory,
    "disk": folders.disk,
    "write": folders.write,
    "DVC remote": stores.remote,
    "W&B": tracking.wandb,
    "Prefect": prefect_server.prefect,
    "clock": checkout.clock,
}


def examine(job: Job) -> Iterator[Finding]:
    """Every check's lines, as they come; a check that fails itself is a line that says so."""
    for label, check in CHECKS.items():
        try:
            found = check(job)
        except Exception as error:  # a broken check must not hide what the others find
            found = wrong(
                f"this check itself failed: {first_line(error, with_type=True)}", f"look at {check.__module__}"
            )
        for finding in found if isinstance(found, list) else [found]:
            yield Finding(finding.state, finding.found, finding.todo, finding.label or label)


def doctor(
    params: console.ParamsFile = None,
    sets: console.Sets = None,
    out: console.Out = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nothing outside this machine.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Measure nothing: no estimate of the time.")] = False,
) -> None:
    """Check this machine for the run that the params name: one line a check, and what to do where it is not ok.

    Changes nothing: probe files are deleted again. Ends with 2 where something is wrong.
    """
    job = Job(load(params, sets or ()), Paths.at(out), offline, quick)
    counts = {"ok": 0, "warning": 0, "wrong": 0}
    for finding in examine(job):
        counts[finding.state] += 1
        todo = f" -> {finding.todo}" if finding.todo else ""
        say(f"{finding.state:<8} {finding.label:<21} {finding.found}{todo}".replace("\n", " "))
    say(f"{counts['ok']} ok, {counts['warning']} warnings, {counts['wrong']} wrong")
    if counts["wrong"]:
        raise typer.Exit(2)


if __name__ == "__main__":
    console.run(doctor)
