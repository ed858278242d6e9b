"""A command line with a mistake in it, and whether what it says and does is right."""

import contextlib
import io
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtune.cli.main import call
from medtune.config.project import PROJECT

ERROR = "error: "
LOCK = ".lock"  # an empty file; the only thing that a refused command may leave


@dataclass(frozen=True)
class Case:
    """One mistake.

    Attributes:
        name: what is wrong, in a few words.
        command: words after `medtune`: `train`, `stage frozen`.
        words: what follows it.
        says: every one of these must be in the line on stderr.
        code: exit code: 2 where the input is wrong, 1 where the run fails.
        environment: variables set for it.
        own_process: run as a process, not in this one.
    """

    name: str
    command: str
    words: tuple[str, ...]
    says: tuple[str, ...]
    code: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)
    own_process: bool = False


@dataclass(frozen=True)
class Ended:
    """How a command ended; `code` None: with a traceback."""

    code: int | None
    out: str
    err: str


def ask(case: Case) -> Ended:
    """Run the command in this process: hundreds take no longer than a few processes."""
    out, err = io.StringIO(), io.StringIO()
    with _as_command(case), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: int | None = call([*case.command.split(), *case.words])
        except BaseException:
            code = None
            err.write(traceback.format_exc())
    return Ended(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _as_command(case: Case) -> Iterator[None]:
    before, folder = dict(os.environ), Path.cwd()
    os.environ.update(case.environment)
    os.chdir(PROJECT)
    try:
        yield
    finally:
        os.chdir(folder)
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def start(case: Case, timeout_s: float = 120.0) -> Ended:
    """Runs the command in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "medtune", *case.command.split(), *case.words],
            cwd=PROJECT,
            env={**os.environ, **case.environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return Ended(None, "", f"did not end within {timeout_s:.0f} s")
    return Ended(done.returncode, done.stdout, done.stderr)


def judge(case: Case, ended: Ended) -> str | None:
    """What is wrong with how the command ended; None where all is right."""
    if ended.code is None or "Traceback (most recent call last)" in ended.err:
        return f"a traceback: {(ended.err.strip().splitlines() or [''])[-1][:300]}"
    if ended.code != case.code:
        return f"exit code {ended.code}, expected {case.code}; said {ended.err[-300:]!r}"
    lines = [line for line in ended.err.splitlines() if line.startswith(ERROR)]
    if len(lines) != 1:
        return f"{len(lines)} lines that say what is wrong: {ended.err[-300:]!r}"
    said = " ".join(lines)
    missing = [word for word in case.says if word not in said]
    return f"{missing[0]!r} is not in {said[:400]!r}" if missing else None


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file under `folder`, and its folders; a lock and its folder are left out."""
    found: dict[str, Any] = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.name != LOCK:
            found[path.relative_to(folder).as_posix()] = (path.stat().st_size, path.stat().st_mtime_ns)
    return found


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """What a refused command wrote, changed or lost; None: nothing."""
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            what = "is gone" if name not in after else "was written" if name not in before else "was changed"
            return f"{name} {what}"
    return None
