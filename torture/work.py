"""Parts as processes: each ends with an outcome, with an error, or is ended because it hangs."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from medtune.config.project import PROJECT
from medtune.runtime.artifact import digest, file_sha256, write_text
from torture.outcome import Outcome
from torture.registry import Scenario

LAST_LINES = 12
LOOK_S = 0.2
SOURCES = ("*.py", "*.yaml", "*.toml", "*.lock", "*.safetensors")


@dataclass(frozen=True)
class Job:
    """One part of one scenario."""

    scenario: Scenario
    part: str
    full: bool = True

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"{self.scenario.name} {self.part}"


class Store:
    """Outcomes on disk, one file a part: what was done by this source is not done again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = source_digest()

    def find(self, job: Job) -> Outcome | None:
        """The outcome of `job` by this very source; None where there is none."""
        try:
            found = json.loads(self._place(job).read_text(encoding="utf-8"))
            return Outcome(**found["outcome"]) if found["source"] == self.source else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, job: Job, outcome: Outcome, seconds: float) -> None:
        """Writes the outcome of `job`."""
        record = {"source": self.source, "outcome": outcome.as_dict(), "seconds": round(seconds, 1)}
        write_text(self._place(job), json.dumps(record, indent=2) + "\n")

    def seconds(self, job: Job) -> float:
        """Seconds that `job` took; 0 where it has no record."""
        try:
            return float(json.loads(self._place(job).read_text(encoding="utf-8"))["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0

    def _place(self, job: Job) -> Path:
        return self.folder / ("full" if job.full else "small") / job.scenario.name / f"{job.part}.json"


def source_digest() -> str:
    """Digest of every source file of the project but its tests: figures of other source are not this one's."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *SOURCES, ":(exclude)tests"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = sorted(PROJECT / name for name in listed.stdout.splitlines())
    return digest({path.relative_to(PROJECT).as_posix(): file_sha256(path) for path in paths if path.is_file()})


class Stopped(Exception):
    """The user wants no more."""


def perform(job: Job, folder: Path, stop: threading.Event) -> tuple[Outcome, bool]:
    """Does `job` in a process of its own, working in `folder`; a part that failed leaves its log beside that.

    Returns:
        its outcome, and whether it came to its end by itself; one that crashed or hung is lost as a whole.

    Raises:
        Stopped: `stop` was set before the job had ended.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file, log = folder.with_suffix(".json"), folder.with_suffix(".log")
    file.unlink(missing_ok=True)
    form = "full" if job.full else "small"
    words = [sys.executable, "-m", "torture.child", job.scenario.name, job.part, form, str(folder), str(file)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MEDTUNE_DEVICE": "cpu"}
    try:
        with log.open("w", encoding="utf-8") as stream:
            process = subprocess.Popen(
                words, cwd=PROJECT, env=env, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            fault = _end(process, job.scenario.limit_s, stop)
        if fault is None:
            log.unlink()
            return Outcome(**json.loads(file.read_text(encoding="utf-8"))), True
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        return Outcome(1, 0, [f"{job.part}: {fault}: " + " | ".join(tail)]), False
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        file.unlink(missing_ok=True)


def _end(process: subprocess.Popen[bytes], limit_s: float, stop: threading.Event) -> str | None:
    begun = time.monotonic()
    try:
        while process.poll() is None:
            if time.monotonic() - begun > limit_s:
                return f"did not end within {limit_s:.0f} s"
            if stop.wait(LOOK_S):
                raise Stopped
    finally:  # whatever it started ends with it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return None if process.returncode == 0 else f"ended with {process.returncode}"
