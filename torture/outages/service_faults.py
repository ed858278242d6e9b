"""Two runs at once, and W&B's and Prefect's servers failing, under the small job as processes."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from torture.outages.servers import failing
from torture.outages.small_job import STEPS, TRACEBACK, SmallJob, states, wait
from torture.outcome import Outcome

KEY = "0123456789" * 4  # as long as W&B's; no server knows it
LIMIT_S = 240.0
DIRECT = ("train", "--no-prefect")
ONLINE = ("--set", "tracking.mode=online")


def inject(folder: Path, what: str, kinds: list[str] | None = None) -> Outcome:
    """Every fault of one kind."""
    outcome = Outcome()
    lone = SmallJob(folder / "lone")
    for words in (("data",), DIRECT):
        ended, seconds = lone.run(*words)
        if ended.code != 0:
            outcome.count("the job without faults", f"ended with {ended.code}: {ended.err[-400:]}")
            return outcome
    if what == "two":
        _two(outcome, folder, lone)
    elif what == "wandb":
        for kind in kinds or []:
            _wandb(outcome, folder, lone, kind, seconds)
    elif what == "prefect":
        for kind in kinds or []:
            _prefect(outcome, folder, lone, kind)
    else:
        _dying(outcome, folder, lone)
    return outcome


def _fresh(folder: Path, lone: SmallJob, name: str) -> SmallJob:
    """A job with the lone one's data and nothing trained."""
    job = SmallJob(folder / name.replace(" ", "-"))
    shutil.copytree(lone.out / "data", job.out / "data")
    return job


def _trained(job: SmallJob, lone: SmallJob, code: int | None, out: str, err: str) -> str | None:
    """What is wrong with a run that had to finish: each step once, the lone run's result, nothing left over."""
    if code != 0 or TRACEBACK in out + err:
        return f"ended with {code}: {(err or out)[-400:]!r}"
    ran = Counter(name for name, state in states(out) if state == "running")
    if ran != Counter(STEPS):
        return f"steps ran {dict(ran)}"
    return _same(job, lone)


def _same(job: SmallJob, lone: SmallJob) -> str | None:
    right, content = lone.content(), job.content()
    wrong = sorted(name for name in right.keys() | content.keys() if right.get(name) != content.get(name))
    if wrong:
        return f"{wrong[0]} is not the lone run's"
    left = job.stray() or job.broken()
    return f"{left[0]} is left or damaged" if left else None


def _two(outcome: Outcome, folder: Path, lone: SmallJob) -> None:
    pairs = {
        "data": (("data",), ("data",)),
        "train": (DIRECT, DIRECT),
        "train, one by Prefect": (("train",), DIRECT),
        "train, both by Prefect": (("train",), ("train",)),
        "stage 1 by hand": (("stage frozen",), ("stage frozen",)),
        "stage 1 by hand and train": (("stage frozen",), DIRECT),
    }
    for name, both in pairs.items():
        job = (
            SmallJob(folder / name.replace(" ", "-").replace(",", "")) if name == "data" else _fresh(folder, lone, name)
        )
        running = [job.begin(*words) for words in both]
        ended = [wait(process, LIMIT_S) for process in running]
        printed = "".join(end.out for end in ended)
        fault = next(
            (f"ended with {e.code}: {e.err[-300:]!r}" for e in ended if e.code != 0 or TRACEBACK in e.err), None
        )
        ran = Counter(step for step, state in states(printed) if state == "running")
        trained = printed.count("epochs in")  # a line at the end of each training
        if name == "data":
            fault = fault or (None if printed.count("nothing changed") == 1 else f"said {printed[-300:]!r}")
            wanted = {file: sha for file, sha in lone.content().items() if file.startswith("data/")}
            fault = fault or (None if job.content() == wanted else "its result is not a lone run's")
        else:
            most = 1 if all("stages" in words[0] for words in both) else 2
            fault = fault or (f"{trained} trainings" if trained != most else None)
            fault = fault or (f"steps ran {dict(ran)}" if any(count > 1 for count in ran.values()) else None)
            fault = fault or (_same(job, lone) if most == 2 else None)
        outcome.count(f"two at once: {name}", fault)


def _wandb(outcome: Outcome, folder: Path, lone: SmallJob, kind: str, alone_s: float) -> None:
    with failing(kind) as address:
        job = _fresh(folder, lone, f"wandb-{kind}")
        ended, seconds = job.run(*DIRECT, *ONLINE, limit_s=LIMIT_S, WANDB_BASE_URL=address, WANDB_API_KEY=KEY)
    fault = _trained(job, lone, ended.code, ended.out, ended.err)
    said = "W&B" in ended.out
    recorded = list((job.cache / "wandb").glob("*run-*/run-*.wandb"))
    fault = fault or (None if said else "it is not said") or (None if recorded else "no run is recorded here")
    outcome.count(f"W&B's server: {kind}", fault)
    outcome.figure("W&B: seconds longer than without", round(seconds - alone_s, 1))


def _prefect(outcome: Outcome, folder: Path, lone: SmallJob, kind: str) -> None:
    with failing(kind) as address:
        job = _fresh(folder, lone, f"prefect-{kind}")
        ended, seconds = job.run("train", limit_s=LIMIT_S, PREFECT_API_URL=f"{address}/api")
    fault = _trained(job, lone, ended.code, ended.out, ended.err)
    outcome.count(
        f"Prefect's server: {kind}", fault or (None if "continuing without it" in ended.out else "it is not said")
    )
    outcome.figure("Prefect: seconds of a run", round(seconds, 1))


@contextlib.contextmanager
def _standing(job: SmallJob) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """A real Prefect server, and its address."""
    from medtune.config.project import PROJECT

    process = subprocess.Popen(
        [sys.executable, "-m", "medtune.flows.server"],
        cwd=PROJECT,
        env={**os.environ, "MEDTUNE_CACHE": str(job.cache)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process, process.stdout.readline().decode().strip()
    finally:
        process.stdin.close()
        process.kill()
        process.wait()


def _dying(outcome: Outcome, folder: Path, lone: SmallJob) -> None:
    """A real Prefect server that is killed, or stops answering, as a step begins."""
    for how in (signal.SIGKILL, signal.SIGSTOP):
        for line in ("frozen fold 0: running", "evaluate: running"):
            job = _fresh(folder, lone, f"dying-{how.name}-{line[:4]}")
            with _standing(job) as (server, address):
                process = job.begin("train", PREFECT_API_URL=address)
                printed, ended = _watched(process, line, lambda s=server, h=how: s.send_signal(h))  # type: ignore[misc]
            fault = _trained(job, lone, ended[0], printed, ended[1])
            outcome.count(f"Prefect's server gets {how.name} at {line.partition(':')[0]!r}", fault)


def _watched(process: "subprocess.Popen[str]", line: str, then: "object") -> tuple[str, tuple[int | None, str]]:
    """What a process printed, its code and its stderr; `then` is called once it printed `line`."""
    assert process.stdout is not None
    assert process.stderr is not None
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
    reader.start()
    alarm = threading.Timer(LIMIT_S, process.kill)
    alarm.start()
    printed = ""
    for said in process.stdout:
        printed += said
        if said.startswith(line):
            then()  # type: ignore[operator]
    code = process.wait()
    alarm.cancel()
    reader.join(5)
    time.sleep(0.1)
    return printed, (code, "".join(errors))
