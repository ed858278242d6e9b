"""Events of file operations, reported just before each, and moments among them at which a process is killed."""

import os
import re
import signal
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

from tests.robustness.kills.forked import Event, Report

# Audit events of Python, and the index of the argument that is the descriptor of the parent folder.
OPERATIONS = {"os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.mkdir": 2, "shutil.rmtree": 1}
IGNORED = re.compile(r"/logs/|\.lock$")
MAX_WRITE_S = 0.3


@dataclass(frozen=True)
class Moment:
    """A moment at which a process is killed.

    Attributes:
        operation: `open` for writing, `read` of a file before its publication, or the name of an audit event. `begin`
            is the start of the work.
        path: relative path of the file, without process ids.
        number: 1 for the first operation of this kind on this path.
        delay: seconds after the begin of the operation. None kills just before it.
        is_retried: True if a moment that does not come is tried again from the start of the stage.
    """

    operation: str
    path: str
    number: int
    delay: float | None
    is_retried: bool = True


def report_file_operations(report: Report, root: Path, moment: Moment | None) -> None:
    """Make this process report each change of a file below `root`, and kill it at `moment`."""
    from medtune.training import checkpoint

    n_seen, save_file = 0, checkpoint.save_file

    def record(operation, path):
        nonlocal n_seen
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if not text.startswith(f"{root}/") or IGNORED.search(text):
            return
        name = re.sub(r"\.\d+\.tmp(?=\.|$)", ".tmp", text.removeprefix(f"{root}/"))
        report(operation, path=name)
        if moment and (operation, name) == (moment.operation, moment.path):
            n_seen += 1
            if n_seen == moment.number:
                if moment.delay is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                report("kill", kill_after=moment.delay)

    def hook(name, args):
        if name == "open" and args[2] & (os.O_WRONLY | os.O_RDWR):
            record("open", args[0])
        elif name == "open" and (".tmp" in str(args[0]) or ".partial" in str(args[0])):  # for its digest, or for fsync
            record("read", args[0])
        elif name in OPERATIONS:
            folder = args[OPERATIONS[name]] if len(args) > OPERATIONS[name] else -1
            is_relative = isinstance(folder, int) and folder >= 0
            record(name, f"{os.readlink(f'/proc/self/fd/{folder}')}/{args[0]}" if is_relative else args[0])

    def reported_save_file(tensors, filename, metadata):  # native code raises no audit event
        record("open", filename)
        save_file(tensors, filename, metadata)

    sys.addaudithook(hook)
    checkpoint.save_file = reported_save_file


def random_moments(events: Sequence[Event], random: Random, n_operations: int, n_times: int) -> list[Moment]:
    """Draw file operations of an uninterrupted run, equally often of each kind and file, and times after its begin."""
    durations = defaultdict(list)
    for event, following in pairwise(events):
        if "path" in event:
            duration = min(following["time"] - event["time"], MAX_WRITE_S)
            durations[event["kind"], event["path"]].append(duration)
    groups = defaultdict(list)  # the images and tables of a folder are one group
    for operation, path in durations:
        folder, _, name = path.rpartition("/")
        groups[operation, folder, name[-4:] if name.endswith((".png", ".csv")) else name].append((operation, path))
    total = events[-1]["time"] - events[0]["time"]
    moments = [Moment("begin", "", 1, random.uniform(0, total)) for _ in range(n_times)]
    while len(moments) < n_times + n_operations:
        for group in random.sample(sorted(groups), len(groups)):
            operation, path = random.choice(groups[group])
            known = durations[operation, path]
            delay = random.uniform(0, 1.2 * max(known)) if operation == "open" else None
            moments.append(Moment(operation, path, random.randint(1, min(len(known), 3)), delay))
    moments = moments[: n_times + n_operations]
    random.shuffle(moments)
    return moments
