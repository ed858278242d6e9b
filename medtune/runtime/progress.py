"""Progress of long operations: a bar on a terminal, plain lines otherwise."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from medtune.runtime import distributed
from medtune.runtime.console import info

INTERVAL_S = 15.0


@contextmanager
def progress(label: str, total: float, unit: str = "") -> Iterator[Callable[..., None]]:
    """Show the progress of the block: a bar on a terminal, otherwise one line every 15 s and one at the end.

    In distributed training only the main process shows the progress.

    Args:
        label: name of the operation.
        total: number of units of work.
        unit: name of a unit.

    Yields:
        Function `advance(by=1, note="")`, to be called when units are done.
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


@contextmanager
def running(label: str) -> Iterator[None]:
    """Print a line at the start of a block without countable units, every 15 s, and at the end.

    The lines appear even if the block redirects stdout. In distributed training only the main process prints the lines.

    Args:
        label: name of the operation.

    Yields:
        Nothing.
    """
    if distributed.rank() > 0:
        yield
        return
    stream, start, finished = sys.stdout, time.monotonic(), threading.Event()

    def show(state: str) -> None:
        # On a terminal, a progress bar replaces stdout. A line to the original stdout would damage the bar.
        print(f"{label}{state}", file=sys.stdout if sys.stdout.isatty() else stream, flush=True)

    def repeat() -> None:
        while not finished.wait(INTERVAL_S):
            show(f": running for {time.monotonic() - start:.0f} s")

    show("")
    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
    show(f": done in {time.monotonic() - start:.1f} s")
