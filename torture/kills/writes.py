"""What a process does to files, told before it does it; it can be held there until it is killed."""

import os
import re
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from torture.kills.forked import Aim, Event, Tell

WRITES = os.O_WRONLY | os.O_RDWR
# Audit events, and which of their arguments is the folder that a path is relative to.
OPERATIONS = {
    "os.rename": ("rename", 2),
    "os.remove": ("remove", 1),
    "os.rmdir": ("rmdir", 1),
    "os.mkdir": ("mkdir", 2),
    "shutil.rmtree": ("rmtree", 1),
}
# Logs and locks are no results.
LEFT_OUT = re.compile(r"/logs/|\.lock$")
LONGEST_GAP_S = 0.3


@dataclass(frozen=True)
class Moment:
    """A moment among what a process does to files.

    Attributes:
        operation: open (for writing), read (a file that is being written: its digest, its fsync), rename, ...
        path: below the root, without process numbers; empty for what is no file's, as `begin`.
        number: which of several operations of this kind on this path, from 1.
        delay: seconds after its begin, or None: just before it, exactly.
    """

    operation: str
    path: str
    number: int
    delay: float | None

    def aim(self) -> Aim:
        """Kills at this moment."""
        seen = 0

        def asked(event: Event) -> float | None:
            nonlocal seen
            if event["what"] == "held":
                return 0.0
            if self.delay is None or (event["what"], event.get("path", "")) != (self.operation, self.path):
                return None
            seen += 1
            return self.delay if seen == self.number else None

        return asked

    def __str__(self) -> str:
        if not self.path:
            return f"{self.delay:.2f} s after its {self.operation}"
        when = "before" if self.delay is None else f"{self.delay * 1000:.1f} ms into"
        return f"{when} {self.operation} {self.number} of {self.path}"


def tell_writes(tell: Tell, root: Path, hold: Moment | None = None) -> None:
    """From here on this process tells each change it makes below `root`, by Python's audit events.

    Args:
        tell: receives the operation and `path`, before it happens.
        root: folder.
        hold: where this process stops, tells `held`, and waits to be killed.
    """
    from medtune.training import checkpoint

    prefix, seen = f"{root}/", 0

    def note(operation: str, place: object) -> None:
        nonlocal seen
        text = os.fsdecode(place) if isinstance(place, str | bytes | os.PathLike) else ""
        if not text.startswith(prefix) or LEFT_OUT.search(text):
            return
        path = re.sub(r"\.\d+\.tmp$", ".tmp", text.removeprefix(prefix))
        tell(operation, path=path)
        if hold is not None and hold.delay is None and (operation, path) == (hold.operation, hold.path):
            seen += 1
            if seen == hold.number:
                tell("held")
                signal.pause()

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            if args[2] & WRITES:
                note("open", args[0])
            elif ".tmp" in str(args[0]) or ".partial" in str(args[0]):
                note("read", args[0])
        elif event in OPERATIONS:
            operation, folder = OPERATIONS[event]
            within = args[folder] if len(args) > folder else None
            if isinstance(within, int) and within >= 0 and isinstance(args[0], str):
                note(operation, f"{os.readlink(f'/proc/self/fd/{within}')}/{args[0]}")
            else:
                note(operation, args[0])

    sys.addaudithook(hook)
    save_file = checkpoint.save_file  # writes without Python

    def save_file_told(tensors: Any, filename: Any, metadata: dict[str, str] | None = None) -> None:
        note("open", filename)
        save_file(tensors, filename, metadata)

    checkpoint.save_file = save_file_told


def moments(told: Iterable[Event], draw: Random, count: int) -> list[Moment]:
    """`count` moments of what an uncut run told, each kind of file and operation as often as any other."""
    events = list(told)
    gaps: dict[tuple[str, str], list[float]] = {}
    for event, following in pairwise(events):
        if "path" in event:
            gap = min(following["t"] - event["t"], LONGEST_GAP_S)
            gaps.setdefault((event["what"], event["path"]), []).append(gap)
    kinds: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for operation, path in gaps:
        folder, _, name = path.rpartition("/")
        many = name.endswith((".png", ".csv"))
        kinds.setdefault((operation, folder, name[-4:] if many else name), []).append((operation, path))
    found: list[Moment] = []
    while len(found) < count:
        for kind in draw.sample(sorted(kinds), len(kinds)):
            operation, path = draw.choice(kinds[kind])
            known = gaps[operation, path]
            delay = draw.uniform(0, 1.2 * max(known)) if operation == "open" else None
            found.append(Moment(operation, path, draw.randint(1, min(len(known), 3)), delay))
    return found[:count]
