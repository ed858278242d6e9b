"""Kills of a real `medtune train` with Prefect and W&B's offline mode, in each of its steps."""

import json
import os
import subprocess
import sys
import time
from functools import partial
from random import Random

import psutil

from medtune.config.project import PROJECT
from medtune.runtime.paths import RunPaths
from tests.robustness.faults import Faults
from tests.robustness.kills.forked import fork, prepare_forks
from tests.robustness.kills.leftovers import contents, difference, interrupted_save, report_unreadable
from tests.robustness.kills.stage import TRAIN, medtune

MAX_DELAY_S = 2.0
CHILDREN_END_S = 30.0


def kill_command(folder, params, steps):
    """Kill the command at a random moment of each of the steps, then let it finish."""
    prepare_forks()
    faults, random, file, root = Faults(), Random(1), folder / "params.yaml", folder / "killed"
    file.write_text(json.dumps(params.model_dump(mode="json")))

    def prepare(report):
        medtune("data", file, root)
        medtune("data", file, folder / "complete")
        medtune(TRAIN, file, folder / "complete")

    prepared = fork(prepare, folder / "complete.log")
    assert prepared.exit_code == 0, prepared.end()
    expected = contents(folder / "complete")
    for step in steps:
        started, delay = time.time(), random.uniform(0, MAX_DELAY_S)
        problem = kill_in_step(start(file, root), step, delay)
        faults.measure("number of kills inside a save", interrupted_save(root, expected, started) is not None)
        read = fork(partial(report_unreadable, RunPaths(root / "out", root / "cache")), folder / "read.log")
        unreadable = [f"{event['name']}: {event['problem']}" for event in read.select("file") if event["problem"]]
        problems = [problem, *unreadable, None if read.exit_code == 0 else read.end()]
        faults.count(f"medtune train, killed {delay:.2f} s into {step}", "; ".join(filter(None, problems)) or None)
    output, _ = (last := start(file, root)).communicate()
    problem = difference(root, expected) if last.returncode == 0 else f"ended with {last.returncode}: {output[-400:]}"
    assert problem is None, problem
    return faults


def start(params, root):
    excluded = ("PREFECT_", "WANDB_", "DVC_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(excluded)}
    paths = {"MEDTUNE_CACHE": str(root / "cache"), "MEDTUNE_DEVICE": "cpu", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "medtune", "train", "--params", str(params), "--out", str(root / "out")],
        cwd=PROJECT, env=inherited | paths, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def kill_in_step(process, step, delay):
    """Kill the command `delay` seconds after the start of the step. Return the problem or None."""
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if line.startswith(f"{step}: running"):
            time.sleep(delay)
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
            _, alive = psutil.wait_procs(children, CHILDREN_END_S)
            for child in alive:
                child.kill()
            return f"{len(alive)} child processes remain: {alive[0]}" if alive else None
    return f"{step} did not start, ended with {process.wait()}: {' | '.join(lines[-3:])}"
