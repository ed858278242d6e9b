"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from medtune.runtime import distributed
from medtune.runtime.console import info

INTERVAL_S = 15.0


@contextmanager
def progress(label: str, total: float, unit: str = "") -> Iterator[Callable[..., None]]:
    """Yields `advance(by=1, note="")`, to be called as work is done.

    On a terminal: a bar with rate and time left. Elsewhere: a line every 15 s and one at the end. Of several
    processes, the first shows it.
    """
    if distributed.rank() > 0:
        yield lambda by=1, note="": None
        return
    if sys.stdout.isatty():
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
                   TimeRemainingColumn(), TextColumn("{task.fields[note]}"))  # fmt: skip
        with Progress(*columns) as bar:
            task = bar.add_task(label, total=total, note="")
            yield lambda by=1, note="": bar.update(task, advance=by, note=note)
        return

    start = shown = time.monotonic()
    done = 0.0
    last = ""

    def advance(by: float = 1, note: str = "") -> None:
        nonlocal done, shown, last
        done += by
        last = note or last
        now = time.monotonic()
        if now - shown >= INTERVAL_S:
            shown = now
            rate = done / (now - start)
            pace = f"{rate:,.0f}/s" if rate >= 1 else f"{1 / max(rate, 1e-9):,.1f} s each"
            info(f"{label}: {done:,.0f} of {total:,.0f} {unit} ({pace}) {last}".rstrip())

    yield advance
    info(f"{label}: {done:,.0f} {unit} in {time.monotonic() - start:.1f} s {last}".rstrip())
