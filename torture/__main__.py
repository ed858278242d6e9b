"""`python -m torture`, `make torture`: every fault at full count, and a table of what became of them."""

import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated

import typer

from medtune.cli import program
from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.runtime import console
from medtune.runtime.artifact import write_text
from torture import registry
from torture.outcome import Outcome
from torture.registry import Scenario
from torture.table import table, verdict
from torture.work import Job, Store, perform

PAGE = PROJECT / "docs" / "reliability.md"
SHOWN = 20


def run(
    names: Annotated[list[str] | None, typer.Argument(help="Scenarios, by name; all by default.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Parts at a time; as many as cores by default.")] = None,
    small: Annotated[bool, typer.Option("--small", help="The small form of each, as the tests run it.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do again what was done.")] = False,
    save: Annotated[bool, typer.Option("--save", help="Write the table into docs/reliability.md.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where outcomes are kept; .cache/torture by default.")] = None,
) -> None:
    """Inject every fault. What an earlier, interrupted call did with this same source is not done again.

    Ends with 1 where a target is missed, or could not be tried on this machine.
    """
    if save and (small or names):
        raise InputError("--save writes the whole table: not with --small or names")
    chosen = [registry.load(name) for name in names] if names else registry.every()
    place = (folder or PROJECT / ".cache" / "torture").resolve()
    store, begun = Store(place), time.monotonic()
    jobs = [Job(scenario, part, not small) for scenario in chosen for part in scenario.parts(not small)]
    found = {} if fresh else {job.name: outcome for job in jobs if (outcome := store.find(job))}
    console.info(
        f"torture: {len(jobs)} parts of {len(chosen)} tests, {len(found)} found, {len(jobs) - len(found)} to do"
    )
    found |= _perform([job for job in jobs if job.name not in found], place, store, workers)
    rows = [_sum(scenario, [job for job in jobs if job.scenario == scenario], found, store) for scenario in chosen]
    for scenario, whole, _ in rows:
        for line in [*whole.lost, *(f"not run: {reason}" for reason in whole.not_run)][:SHOWN]:
            console.info(f"{scenario.name}: {line}")
    text = table(rows)
    console.info(f"\n{text}\n\n{time.monotonic() - begun:.0f} s")
    if save:
        _save(text)
    if missed := [scenario.name for scenario, whole, _ in rows if verdict(whole) != "yes"]:
        console.info(f"targets not met: {', '.join(missed)}")
        raise SystemExit(1)


def _perform(todo: list[Job], place: Path, store: Store, workers: int | None) -> dict[str, Outcome]:
    """The outcome of each, by its name; as many at a time as there are workers."""
    found: dict[str, Outcome] = {}
    stop = threading.Event()
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        running = {pool.submit(_one, job, place, store, stop): job for job in todo}
        try:
            for count, future in enumerate(as_completed(running), 1):
                name = running[future].name
                found[name], seconds = future.result()
                console.info(f"[{count}/{len(todo)}] {name}: {_words(found[name])}, {seconds:.0f} s")
        except KeyboardInterrupt:
            stop.set()
            pool.shutdown(cancel_futures=True)
            console.info(f"stopped; what is done is kept in {place}: call it again to go on")
            raise SystemExit(130) from None
    return found


def _one(job: Job, place: Path, store: Store, stop: threading.Event) -> tuple[Outcome, float]:
    begun = time.monotonic()
    outcome, ended = perform(job, place / "work" / f"{job.scenario.name}-{job.part}", stop)
    seconds = time.monotonic() - begun
    if ended:
        store.keep(job, outcome, seconds)
    return outcome, seconds


def _sum(
    scenario: Scenario, jobs: list[Job], found: dict[str, Outcome], store: Store
) -> tuple[Scenario, Outcome, float]:
    whole = Outcome()
    for job in jobs:
        whole.add(found[job.name])
    return scenario, whole, sum(store.seconds(job) for job in jobs)


def _words(outcome: Outcome) -> str:
    lost = f", {len(outcome.lost)} LOST" if outcome.lost else ""
    return f"{outcome.survived:,} of {outcome.injected:,} survived{lost}"


def _save(text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    write_text(PAGE, re.sub(r"(?s)(<!-- table -->\n).*(\n<!-- end -->)", lambda m: m[1] + text + m[2], page))


if __name__ == "__main__":
    program.run(run)
