"""`python -m config.doctor`: whether this machine can do the run that params.yaml names, before it begins."""

import importlib
from collections.abc import Iterator
from typing import Annotated

import typer

from config import cli
from config.cli import say
from config.doctor.finding import Finding, Job, short, wrong
from config.load import load
from config.settings import Paths

# In this order: what is learnt by one (images, weights, time and disk) is used by those after it.
CHECKS = {
    "python": "config.doctor.packages:python",
    "packages": "config.doctor.packages:packages",
    "device": "config.doctor.device:device",
    "threads": "config.doctor.machine:threads",
    "git": "config.doctor.checkout:git",
    "lock": "config.doctor.checkout:lock",
    "data": "datasets.doctor:data",
    "weights": "models.doctor:weights",
    "hub": "models.doctor:hub",
    "estimate": "training.doctor:estimate",
    "memory": "config.doctor.machine:memory",
    "disk": "config.doctor.folders:disk",
    "write": "config.doctor.folders:write",
    "DVC remote": "config.doctor.stores:remote",
    "W&B": "tracking.doctor:wandb",
    "Prefect": "flows.doctor:prefect",
    "clock": "config.doctor.checkout:clock",
}


def examine(job: Job) -> Iterator[Finding]:
    """Every check's lines, as they come; a check that fails itself is a line that says so."""
    for label, place in CHECKS.items():
        module, _, function = place.partition(":")
        try:
            found = getattr(importlib.import_module(module), function)(job)
        except Exception as error:  # a broken check must not hide what the others find
            found = wrong(f"this check itself failed: {type(error).__name__}: {short(error)}", f"look at {place}")
        for finding in found if isinstance(found, list) else [found]:
            yield Finding(finding.state, finding.found, finding.todo, finding.label or label)


def doctor(
    params: cli.ParamsFile = None,
    sets: cli.Sets = None,
    out: cli.Out = None,
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
    cli.run(doctor)
