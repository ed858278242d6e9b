"""A command line with a mistake, and the error message that it must get."""

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from medtune.cli.main import call
from medtune.config.project import PROJECT
from tests.robustness.faults import Faults
from tests.robustness.job import TREE

Words = str | tuple[str, ...]
TAKES_OUT = {"benchmark", "data", "evaluate", "export", "stage", "train"}
# A refused command may leave these: cached results, empty lock files, unfinished work of a run that failed.
ALLOWED = re.compile(r"^out/cache/|(^|/)\.lock$|/\.[^/]+\.(partial|training)/")
USER_SETTINGS = ("PREFECT_API_URL", "WANDB_API_KEY", "WORLD_SIZE", "RANK")
TIMEOUT_S = 300


@dataclass(frozen=True)
class Mistake:
    """A command that must fail with one line on stderr.

    Attributes:
        command: `train` or `stage frozen`.
        arguments: its arguments, which contain the mistake.
        expected: the line must contain each of these.
        code: expected exit code: 2 for invalid input, 1 for a failed run.
        environment: variables to set.
        in_process: run the command in this process, which takes a fraction of the time.
    """

    command: str
    arguments: tuple[str, ...]
    expected: tuple[str, ...]
    code: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)
    in_process: bool = True

    def __str__(self) -> str:
        variables = (f"{name}={value}" for name, value in self.environment.items())
        return " ".join((*variables, "medtune", self.command, shlex.join(self.arguments)))

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run the command in the current folder. Its artifacts would be written to `out`."""
        out = ("--out", str(Path.cwd() / "out")) if self.command.split()[0] in TAKES_OUT else ()
        words = [*self.command.split(), *out, *self.arguments]
        environment = {**os.environ, **self.environment}
        if not self.in_process:
            python, environment = [sys.executable, "-m", "medtune"], environment | {"MEDTUNE_PROJECT": str(PROJECT)}
            return subprocess.run(python + words, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
        output, errors = io.StringIO(), io.StringIO()
        with (
            patch.dict(os.environ, environment),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            try:
                code = call(words)
            except BaseException:
                code = 1
                traceback.print_exc()
        return subprocess.CompletedProcess(words, code, output.getvalue(), errors.getvalue())

    def problem(self, result: subprocess.CompletedProcess[str]) -> str | None:
        """Return the first way in which `result` differs from the expected error, or None."""
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        if "Traceback (most recent call last)" in result.stderr:
            return f"traceback: {result.stderr.strip().splitlines()[-1][:300]}"
        if result.returncode != self.code:
            return f"exit code {result.returncode}, expected {self.code}: {result.stderr[-300:]!r}"
        if len(errors) != 1:
            return f"{len(errors)} error lines: {result.stderr[-300:]!r}"
        missing = [text for text in self.expected if text not in errors[0]]
        return f"{missing[0]!r} is not in {errors[0][:400]!r}" if missing else None


def mistakes(
    command: str, table: Mapping[Any, Words], *options: str, sets: bool = False, **attributes: Any
) -> Iterator[Mistake]:
    """Yield a mistake per row of `table`: arguments and expected texts.

    Args:
        command: command of all rows.
        table: arguments (or, with `sets`, values of `--set`), and the texts that the error message must contain.
        options: arguments before those of the row.
        sets: write `--set` before each argument of a row.
        attributes: other attributes of the mistakes.
    """
    for row, expected in table.items():
        arguments = as_tuple(row)
        if sets:
            arguments = tuple(word for value in arguments for word in ("--set", value))
        yield Mistake(command, (*options, *arguments), as_tuple(expected), **attributes)


def as_tuple(words: Words) -> tuple[str, ...]:
    """Return a single word as a tuple."""
    return words if isinstance(words, tuple) else (words,)


def inject(faults: Faults, folder: Path, cases: Iterable[Mistake]) -> None:
    """Run each mistake in `folder` and count it. It must change no file there."""
    write_small(folder)
    with contextlib.chdir(folder), patch.dict(os.environ, MEDTUNE_CACHE=str(folder / "out" / "cache")):
        for name in USER_SETTINGS:
            os.environ.pop(name, None)
        for mistake in cases:
            before = snapshot(folder)
            try:
                problem = mistake.problem(mistake.run())
            except subprocess.TimeoutExpired as error:
                problem = str(error)
            faults.count(str(mistake), problem or changes(before, snapshot(folder)))


def write_small(folder: Path) -> Path:
    """Write the params of the small job to `small.yaml`."""
    path = folder / "small.yaml"
    path.write_text(json.dumps({"schedule": "staged", **TREE}), encoding="utf-8")
    return path


def snapshot(folder: Path) -> set[tuple[str, int, int]]:
    """Return name, size and time of each file in `folder`, except of those that a refused command may write."""
    files = ((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    return {(name, path.stat().st_size, path.stat().st_mtime_ns) for name, path in files if not ALLOWED.search(name)}


def changes(before: set[tuple[str, int, int]], after: set[tuple[str, int, int]]) -> str | None:
    """Return the files that were written, changed or deleted, or None."""
    names = sorted({name for name, *_ in before ^ after})
    return f"changed files: {', '.join(names)}" if names else None
