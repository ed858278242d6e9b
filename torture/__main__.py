"""`python -m torture`, `make torture`: every fault at full count, and a table of what became of them."""

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated

import typer

from config import cli
from config.artifact import write_text
from config.registry import PROJECT
from torture import registry
from torture.outcome import Outcome
from torture.table import table, verdict
from torture.work import Job, Store, perform

PAGE = PROJECT / "docs" / "reliability.md"
SHOWN = 20


def run(
    names: Annotated[list[str] | None, typer.Argument(help="Scenarios, by name; all by default.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Parts at a time; as many as cores by default.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do again what was done.")] = False,
    save: Annotated[bool, typer.Option("--save", help="Write the table into docs/reliability.md.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where outcomes are kept; .cache/torture by default.")] = None,
) -> None:
    """Inject every fault. What an earlier, interrupted call did with this same source is not done again.

    Ends with 1 where a target is missed, or could not be tried on this machine.
    """
    chosen = [registry.load(name) for name in names] if names else registry.every()
    place = (folder or PROJECT / ".cache" / "torture").resolve()
    store, begun = Store(place), time.monotonic()
    jobs = [Job(scenario, part) for scenario in chosen for part in scenario.parts(True)]
    found = {} if fresh else {job.name: outcome for job in jobs if (outcome := store.find(job))}
    cli.say(f"torture: {len(jobs)} parts of {len(chosen)} tests, {len(found)} found, {len(jobs) - len(found)} to do")
    todo = [job for job in jobs if job.name not in found]
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        running = {pool.submit(_do, job, place, store): job for job in todo}
        for count, future in enumerate(as_completed(running), 1):
            outcome, seconds = future.result()
            found[running[future].name] = outcome
            cli.say(f"[{count}/{len(todo)}] {running[future].name}: {_words(outcome)}, {seconds:.0f} s")
    rows = []
    for scenario in chosen:
        whole, seconds = Outcome(), 0.0
        for job in (job for job in jobs if job.scenario == scenario):
            whole.add(found[job.name])
            seconds += store.seconds(job)
        rows.append((scenario, whole, seconds))
    for scenario, whole, _ in rows:
        for line in [*whole.lost, *(f"not run: {reason}" for reason in whole.not_run)][:SHOWN]:
            cli.say(f"{scenario.name}: {line}")
    text = table(rows)
    cli.say(f"\n{text}\n\n{time.monotonic() - begun:.0f} s")
    if save:
        _save(text)
    if missed := [scenario.name for scenario, whole, _ in rows if verdict(whole) != "yes"]:
        cli.say(f"targets not met: {', '.join(missed)}")
        raise SystemExit(1)


def _do(job: Job, place: Path, store: Store) -> tuple[Outcome, float]:
    begun = time.monotonic()
    outcome, ended = perform(job, place / "work" / f"{job.scenario.name}-{job.part}")
    seconds = time.monotonic() - begun
    if ended:
        store.keep(job, outcome, seconds)
    return outcome, seconds


def _words(outcome: Outcome) -> str:
    lost = f", {len(outcome.lost)} LOST" if outcome.lost else ""
    return f"{outcome.survived:,} of {outcome.injected:,} survived{lost}"


def _save(text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    write_text(PAGE, re.sub(r"(?s)(<!-- table -->\n).*(\n<!-- end -->)", lambda m: m[1] + text + m[2], page))


if __name__ == "__main__":
    cli.run(run)
