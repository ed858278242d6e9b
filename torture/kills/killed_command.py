"""`medtune train`, as a user starts it, with Prefect and W&B's offline record, killed in each of its steps."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from random import Random

import psutil

from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.runtime.paths import RunPaths
from torture.kills import leftovers
from torture.kills.forked import Tell, fork, import_all
from torture.kills.kill_loop import STAGES, by_flow, by_hand
from torture.outcome import Outcome

COMMAND = [sys.executable, "-m", "medtune", "train", "--params"]
STEPS = (*(f"{stage} fold {fold}" for fold in range(3) for stage in ("frozen", "finetune")), "evaluate", "export")
LONGEST_S = 2.0
SERVER_ENDS_S = 30.0
LIMIT_S = 300.0


def kill_command(outcome: Outcome, folder: Path, chosen: Params, kills: int) -> None:
    """Kills the command in one step after the other, a moment after it says that the step runs; then lets it end."""
    import_all()
    draw, place = Random(1), folder / "cut"
    params = folder / "params.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    params.write_text(json.dumps(chosen.model_dump(mode="json")), encoding="utf-8")
    for name in ("whole", "cut"):
        made = fork(partial(_prepare, place=folder / name, params=params, whole=name == "whole"), folder / "log")
        if made.code != 0:
            outcome.count("the command", f"the uncut run {made.words()}")
            return
    whole = leftovers.contents(folder / "whole")
    waiting, unreadable = "", None
    for step in [*(STEPS * kills)[:kills], None]:
        began, delay = time.time(), draw.uniform(0, LONGEST_S)
        code, printed, fault = _run(place, params, step, delay)
        if step is None and fault is None:
            fault = f"ended with {code}: {printed[-1]}" if code else leftovers.difference(place, whole)
        if waiting:
            outcome.count(waiting, unreadable or fault)
        elif fault:
            outcome.count("the command", fault)
        if code == -signal.SIGKILL:
            inside = leftovers.cut_into(place, whole, began)
            unreadable = _unreadable(folder, place)
            outcome.figure("number of kills inside a save", inside is not None)
            waiting = f"the command, killed {delay:.2f} s into {step}" + (f", in {inside}" if inside else "")
            print(waiting, flush=True)
        elif step is not None:
            outcome.count(f"the command, to be killed in {step}", f"ended with {code}: {' | '.join(printed[-3:])}")
            return


def _run(place: Path, params: Path, step: str | None, delay: float) -> tuple[int, list[str], str | None]:
    """Exit code and lines of one run, killed `delay` seconds into `step`; and what it left running."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "WANDB_", "DVC_"))}
    env = {**ours, "MEDTUNE_CACHE": str(place / "cache"), "MEDTUNE_DEVICE": "cpu", "PYTHONUNBUFFERED": "1"}
    words = [*COMMAND, str(params), "--out", str(place / "out")]
    process = subprocess.Popen(words, cwd=PROJECT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line.strip())
        if step is not None and line.startswith(f"{step}: running"):
            time.sleep(delay)
            helpers = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait(LIMIT_S)
            _, alive = psutil.wait_procs(helpers, SERVER_ENDS_S)
            for helper in alive:
                helper.kill()
            fault = f"{len(alive)} processes went on without it: {alive[0]}" if alive else None
            return process.returncode, printed, fault
    return process.wait(LIMIT_S), printed, None


def _unreadable(folder: Path, place: Path) -> str | None:
    def look(tell: Tell) -> None:
        for name, fault in leftovers.read_all(RunPaths(place / "out", place / "cache")):
            tell("found", name=name, fault=fault)

    looked = fork(look, folder / "look.log")
    faults = [f"{event['name']} {event['fault']}" for event in looked.events("found") if event["fault"]]
    return "; ".join(faults) or (looked.words() if looked.code else None)


def _prepare(tell: Tell, place: Path, params: Path, whole: bool) -> None:
    """The data stage; the whole chain where `whole`."""
    os.environ |= {"MEDTUNE_CACHE": str(place / "cache"), "MEDTUNE_DEVICE": "cpu"}
    by_hand(STAGES[0], params, place / "out")
    if whole:
        by_flow(params, place / "out")
