"""Temporary copies of the checkout in which DVC, Prefect and the stages can be run and timed."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from medtune.config.project import PROJECT

NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".cache", "artifacts", "prepared", ".*_cache", "docs", "tests")


@dataclass(frozen=True)
class Checkout:
    """A folder with a git repository and DVC's settings."""

    folder: Path

    def run(self, *command: str) -> tuple[str, float]:
        """Run a command.

        Args:
            *command: program and arguments.

        Returns:
            The output (stdout and stderr) and the duration in seconds.

        Raises:
            RuntimeError: the command did not exit with 0.
        """
        output, seconds, code = self.run_unchecked(*command)
        if code:
            raise RuntimeError(f"{' '.join(command)} exited with code {code}:\n{output}")
        return output, seconds

    def run_unchecked(self, *command: str) -> tuple[str, float, int]:
        """Run a command and return its output, its duration in seconds and its exit code."""
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "WANDB_", "DVC_", "MEDTUNE_"))
        }
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        environment = {**inherited, "PATH": path, "MEDTUNE_DEVICE": "cpu", "PYTHONPATH": str(self.folder)}
        start = time.perf_counter()
        process = subprocess.run(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return process.stdout, time.perf_counter() - start, process.returncode


@contextmanager
def copied_checkout(sets: Sequence[str] = ()) -> Iterator[Checkout]:
    """Copy the checkout without outputs, compile the bytecode as `make setup` does, and apply `sets` to params.yaml."""
    with TemporaryDirectory(prefix="medtune-") as temporary:
        copy = Checkout(Path(temporary) / "medtune")
        shutil.copytree(PROJECT, copy.folder, symlinks=True, ignore=NOT_COPIED)
        copy.run("git", "init", "--quiet")
        copy.run("python", "-m", "compileall", "-q", ".")
        if sets:
            copy.run("python", "-m", "medtune", "params", "set", *sets)
        yield copy


@contextmanager
def two_stage_project() -> Iterator[Checkout]:
    """Create a DVC project with two stages that copy a file, and run the stages once."""
    with TemporaryDirectory(prefix="medtune-") as temporary:
        project = Checkout(Path(temporary))
        project.run("git", "init", "--quiet")
        project.run("dvc", "init", "--quiet")
        shutil.copy(PROJECT / ".dvc" / "config", project.folder / ".dvc" / "config")
        (project.folder / "input.txt").write_text("input\n")
        (project.folder / "dvc.yaml").write_text(
            "stages:\n"
            "  first: {cmd: cp input.txt first.txt, deps: [input.txt], outs: [first.txt]}\n"
            "  second: {cmd: cp first.txt second.txt, deps: [first.txt], outs: [second.txt]}\n"
        )
        project.run("dvc", "repro")
        yield project
