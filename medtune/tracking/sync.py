"""Upload of the runs recorded offline, after an outage or from a machine without network.

Oldest first, so that the parts of a run that was resumed go in their order. What is uploaded already and what a
process still writes is left alone; nothing is ever deleted but, with --prune, pictures and logs that are uploaded.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medtune.config.errors import InputError
from medtune.runtime.console import say
from medtune.runtime.paths import Paths
from medtune.tracking import redact
from medtune.tracking.local_log import Journal
from medtune.tracking.read import Recorded, read_run
from medtune.tracking.run_files import Part, parts
from medtune.tracking.server import KeyRefused, Unreachable, check
from medtune.tracking.upload import upload

UPLOAD, LIVE, EMPTY, DAMAGED = "upload", "still being written", "empty", "damaged"
UNSAFE = "recorded with local paths, by an earlier version or another program"


@dataclass(frozen=True)
class Choice:
    """What becomes of one part, and what it is called."""

    part: Part
    verdict: str
    name: str

    @property
    def label(self) -> str:
        """`frozen fold 1 (20261122_131524)`."""
        return f"{self.name} ({self.part.began})"


def choose(found: Sequence[Part], live: Callable[[str], bool], read: Callable[[Path], Recorded]) -> list[Choice]:
    """A verdict for every part that W&B's server does not have yet, oldest first.

    Args:
        found: all parts.
        live: whether a process writes the run of this id.
        read: a part's file.
    """
    newest = {part.run_id: part for part in sorted(found, key=lambda part: part.began)}
    choices = []
    for part in sorted((part for part in found if part.waits), key=lambda part: (part.began, part.file)):
        name = part.run_id
        try:
            recorded = read(part.file)
            name = recorded.name or name
            verdict = EMPTY if not recorded.run_id else UPLOAD if recorded.host == redact.NAME else UNSAFE
        except ValueError:
            verdict = DAMAGED
        if part == newest[part.run_id] and live(part.run_id):
            verdict = LIVE
        choices.append(Choice(part, verdict, name))
    return choices


def sync(project: str | None = None, entity: str | None = None, dry_run: bool = False, prune: bool = False) -> None:
    """Upload the W&B runs that were recorded offline.

    Exits 0 when all is uploaded, 1 when a run could not be, or the server does not answer, 2 without a valid key.
    """
    cache = Paths.at().cache
    choices = choose(parts(cache), lambda own: Journal(cache, own).is_live(), read_run)
    for verdict, count in Counter(choice.verdict for choice in choices if choice.verdict != UPLOAD).items():
        say(f"sync: left alone, {verdict}: {count}")
    todo = [choice for choice in choices if choice.verdict == UPLOAD]
    damaged = [choice for choice in choices if choice.verdict == DAMAGED]
    for choice in damaged:
        say(f"sync: {choice.part.file} is no .wandb file")
    if dry_run:
        for choice in todo:
            say(f"sync: would upload {choice.label}")
    if todo and not dry_run:
        left = _upload(todo, cache, project, entity)
    else:
        left = []
        say(f"sync: {len(todo)} to upload" if dry_run else "sync: nothing to upload")
    if prune and not dry_run:
        _prune(parts(cache))
    if left or damaged:
        raise SystemExit(1)


def _upload(todo: Sequence[Choice], cache: Path, project: str | None, entity: str | None) -> list[Choice]:
    """Uploads one after the other; gives those that could not be, each said with its reason."""
    key = os.environ.get("WANDB_API_KEY")
    if not key:
        raise InputError(f"WANDB_API_KEY is not set: {len(todo)} recorded runs wait here for it")
    left: list[Choice] = []
    broken: set[str] = set()
    for number, choice in enumerate(todo, 1):
        where = f"sync: {number} of {len(todo)}: {choice.label}"
        if choice.part.run_id in broken:
            left.append(choice)
            say(f"{where} waits for the part before it")
            continue
        try:
            if number == 1 or left:
                check(key)
        except KeyRefused as error:
            raise InputError(str(error)) from None
        except Unreachable as error:
            say(f"sync: {error}; {len(todo) - number + 1} recorded runs wait here")
            return [*left, *todo[number - 1 :]]
        began = time.monotonic()
        if fault := upload(choice.part, cache, project, entity):
            left.append(choice)
            broken.add(choice.part.run_id)
            say(f"{where} failed: {fault}")
        else:
            say(f"{where} uploaded in {time.monotonic() - began:.1f} s")
    return left


def _prune(found: Sequence[Part]) -> None:
    """Removes all of an uploaded part but its record: a stage that runs again asks it what was logged."""
    count = 0
    for part in found:
        if part.mark.exists():
            for folder in [entry for entry in part.file.parent.iterdir() if entry.is_dir()]:
                shutil.rmtree(folder, ignore_errors=True)
                count += 1
    say(f"sync: {count} folders of uploaded pictures and logs removed")
