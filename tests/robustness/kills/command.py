"""Kills of a real `medtune train` with Prefect and W&B's offline mode, in each of its steps."""

import json
import os
import signal
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
from tests.robustness.kills.leftovers import contents, difference, interrupted_save, read_all
from tests.robustness.kills.stage import run_all

STEPS = ("frozen fold 0", "finetune fold 0", "frozen fold 1", "finetune fold 1")
MAX_DELAY_S = 2.0
CHILDREN_END_S = 30.0
LIMIT_S = 300.0


def kill_command(folder, params):
    """Kill the command at a random moment of each step, then let it finish."""
    prepare_forks()
    faults, random, root, file = Faults(), Random(1), folder / "killed", folder / "params.yaml"
    file.write_text(json.dumps(params.model_dump(mode="json")))
    for name in ("complete", "killed"):
        ended = fork(partial(run_all, file, folder / name, "data", name == "complete"), folder / f"{name}.log")
        assert ended.exit_code == 0, ended.end()
    expected, killed, unreadable = contents(folder / "complete"), None, None
    for step in (*STEPS, None):
        started, delay = time.time(), random.uniform(0, MAX_DELAY_S)
        code, lines, problem = run_command(file, root, step, delay)
        if code != (-signal.SIGKILL if step else 0):
            problem = f"ended with {code}: {' | '.join(lines[-3:])}"
        elif not step:
            problem = difference(root, expected)
        if killed:
            faults.count(killed, unreadable or problem)
        else:
            assert not problem, problem
        if code == -signal.SIGKILL:
            faults.measure("number of kills inside a save", interrupted_save(root, expected, started) is not None)
            unreadable = read_problems(folder, root)
            killed = f"medtune train, killed {delay:.2f} s after the start of {step}"
        else:
            break
    return faults


def run_command(params, root, step, delay):
    """Run `medtune train` and kill it `delay` seconds after the start of a step; None lets it finish.

    Returns:
        Exit code, printed lines, and a problem if other processes of the command remain.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "WANDB_", "DVC_"))
    }
    environment |= {"MEDTUNE_CACHE": str(root / "cache"), "MEDTUNE_DEVICE": "cpu", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "medtune", "train", "--params", str(params), "--out", str(root / "out")]
    process = subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if step and line.startswith(f"{step}: running"):
            time.sleep(delay)
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait(LIMIT_S)
            _, alive = psutil.wait_procs(children, CHILDREN_END_S)
            for child in alive:
                child.kill()
            return process.returncode, lines, f"{len(alive)} child processes remain: {alive[0]}" if alive else None
    return process.wait(LIMIT_S), lines, None


def read_problems(folder, root):
    """Return the errors of all artifacts and checkpoints that cannot be read, or None."""

    def read(report):
        for file, problem in read_all(RunPaths(root / "out", root / "cache")):
            if problem:
                report("unreadable", problem=f"{file}: {problem}")

    ended = fork(read, folder / "read.log")
    problems = [event["problem"] for event in ended.events]
    return "; ".join(problems) or (ended.end() if ended.exit_code else None)
