"""Two commands that start together: both wait for a third one, which holds the lock of the output folder."""

import json
import multiprocessing
import os
import time
from pathlib import Path

from medtune.runtime.artifact import find_artifact
from medtune.runtime.lock import output_lock
from medtune.runtime.paths import RunPaths
from tests.robustness import job
from tests.robustness.faults import Faults
from tests.robustness.kills.forked import prepare_forks
from tests.robustness.kills.stage import medtune

WAITING, REUSED = "waiting for another run", "nothing changed"
LIMIT_S = 120.0
# Stage data tests that the network can be trained: here the smallest one.
SMALLEST = {
    "schedule": "frozen",
    "model": {"backbone": "none", "backbone_args": {}, "head": {"width": 4}, "peft": {"method": "none"}},
}


def prepare_volumes_twice(folder: Path) -> Faults:
    """Run stage data of volumes twice at once. Call it inside `isolated` only."""
    prepare_forks()
    file, faults = folder / "params.yaml", Faults()
    file.write_text(json.dumps(job.params(SMALLEST, base=job.VOLUMES).model_dump(mode="json")))
    root, logs = folder / "both", [folder / f"{number}.log" for number in range(2)]
    with output_lock(RunPaths(root / "out", root / "cache")):
        processes = [_start(file, root, log) for log in logs]
        end = time.monotonic() + LIMIT_S
        while not all(log.exists() and WAITING in log.read_text() for log in logs) and time.monotonic() < end:
            time.sleep(0.05)
    for process in processes:
        process.join()
    printed = [log.read_text() for log in logs]
    prepared = RunPaths(root / "out", root / "cache").prepared
    problems = [None if find_artifact(prepared) else "data/prepared is missing or damaged"]
    problems += [f"{path} remains" for path in prepared.parent.glob(".*")]
    if any(process.exitcode != 0 or text.count(WAITING) != 1 for process, text in zip(processes, printed, strict=True)):
        problems.append(f"ended with {[process.exitcode for process in processes]}: {printed}")
    if sum(REUSED in text for text in printed) != 1:
        problems.append("not exactly one run prepared the volumes")
    faults.count("data of volumes twice", "; ".join(filter(None, problems)) or None)
    return faults


def _start(file: Path, root: Path, log: Path) -> "multiprocessing.context.ForkProcess":
    process = multiprocessing.get_context("fork").Process(target=_prepare, args=(file, root, log))
    process.start()
    return process


def _prepare(file: Path, root: Path, log: Path) -> None:
    with log.open("w") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    medtune("data", file, root)
