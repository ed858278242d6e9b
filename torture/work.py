"""Parts as processes: each ends with an outcome, with an error, or is ended because it hangs."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from config.artifact import digest, file_sha256, write_text
from config.registry import PROJECT
from torture.outcome import Outcome
from torture.registry import Scenario

LAST_LINES = 12
SOURCES = ("*.py", "*.yaml", "*.toml", "*.lock", "*.safetensors")


@dataclass(frozen=True)
class Job:
    """One part of one scenario."""

    scenario: Scenario
    part: str

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
        return self.folder / job.scenario.name / f"{job.part}.json"


def source_digest() -> str:
    """Digest of every source file of the project: figures of other source are not this one's."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *SOURCES],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = sorted(PROJECT / name for name in listed.stdout.splitlines())
    return digest({path.relative_to(PROJECT).as_posix(): file_sha256(path) for path in paths if path.is_file()})


def perform(job: Job, folder: Path) -> tuple[Outcome, bool]:
    """Does `job` in a process of its own.

    Returns:
        its outcome, and whether it came to its end by itself; one that crashed or hung is lost as a whole.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file, log = folder.with_suffix(".json"), folder.with_suffix(".log")
    file.unlink(missing_ok=True)
    words = [sys.executable, "-m", "torture.child", job.scenario.name, job.part, str(folder), str(file)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MEDTUNE_DEVICE": "cpu"}
    try:
        with log.open("w", encoding="utf-8") as stream:
            process = subprocess.Popen(
                words, cwd=PROJECT, env=env, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            fault = _wait(process, job.scenario.limit_s)
        if fault is None:
            return Outcome(**json.loads(file.read_text(encoding="utf-8"))), True
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        return Outcome(1, 0, [f"{job.part}: {fault}: " + " | ".join(tail)]), False
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        file.unlink(missing_ok=True)


def _wait(process: subprocess.Popen[bytes], limit_s: float) -> str | None:
    try:
        code = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return f"did not end within {limit_s:.0f} s"
    finally:  # whatever it started ends with it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.05)
    return None if code == 0 else f"ended with {code}"
