"""`python -m torture.outages.inside NAME PART FOLDER FILE`: a part that may mount disks, which no one else sees."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from medtune.config.project import PROJECT
from torture.outcome import Outcome

MARK = "TORTURE_INSIDE"


def is_inside() -> bool:
    """Whether this process has mounts of its own."""
    return MARK in os.environ


def perform(module: str, folder: Path, arguments: dict[str, Any]) -> Outcome:
    """What `module`'s `inject` says of `arguments`, in a process with mounts of its own; `not_run` where it may not."""
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    prefix = ["unshare", *own, "--mount"]
    probe = folder / "probe"
    probe.mkdir(parents=True)
    mounts = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(probe)]
    try:
        tried = subprocess.run([*prefix, *mounts], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Outcome(not_run=[f"no mounts of one's own: {error}"])
    if tried.returncode:
        return Outcome(not_run=[f"no mounts of one's own: {tried.stderr.strip()}"])
    file = folder / "outcome.json"
    words = [*prefix, sys.executable, "-m", "torture.outages.inside", module, str(folder / "inside"), str(file)]
    done = subprocess.run(
        [*words, json.dumps(arguments)],
        cwd=PROJECT,
        env={**os.environ, MARK: "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:  # a bus error, say
        return Outcome(1, 0, [f"{arguments}: ended with {done.returncode}: {done.stderr[-500:]}"])
    return Outcome(**json.loads(file.read_text(encoding="utf-8")))


def main(module: str, folder: str, file: str, arguments: str) -> None:
    """One part; its outcome as JSON."""
    import importlib

    place = Path(folder)
    place.mkdir(parents=True)
    outcome = importlib.import_module(module).inject(place, **json.loads(arguments))
    Path(file).write_text(json.dumps(outcome.as_dict()), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
