"""A copy of the checkout, in which DVC, Prefect and the stages can be run and timed without touching this one."""

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

LEFT_BEHIND = shutil.ignore_patterns(".git", ".venv", ".cache", "artifacts", "prepared", ".*_cache", "docs", "tests")


@dataclass(frozen=True)
class Checkout:
    """A folder with a git repository and DVC's settings."""

    folder: Path

    def run(self, *words: str) -> tuple[str, float]:
        """What a command printed, both streams, and its seconds.

        Raises:
            RuntimeError: it did not exit with 0.
        """
        printed, seconds, code = self.end(*words)
        if code:
            raise RuntimeError(f"{' '.join(words)} ended with {code}:\n{printed}")
        return printed, seconds

    def end(self, *words: str) -> tuple[str, float, int]:
        """What a command printed, its seconds and its exit code."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "WANDB_", "DVC_", "MEDTUNE_"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        environment = {**ours, "PATH": path, "MEDTUNE_DEVICE": "cpu", "PYTHONPATH": str(self.folder)}
        start = time.perf_counter()
        done = subprocess.run(
            words, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return done.stdout, time.perf_counter() - start, done.returncode


@contextmanager
def copied(sets: Sequence[str] = ()) -> Iterator[Checkout]:
    """A copy with nothing made in it, bytecode compiled as `make setup` leaves it, and `sets` in its params.yaml."""
    with TemporaryDirectory(prefix="medtune-") as place:
        copy = Checkout(Path(place) / "medtune")
        shutil.copytree(PROJECT, copy.folder, ignore=LEFT_BEHIND)
        copy.run("git", "init", "--quiet")
        copy.run("python", "-m", "compileall", "-q", ".")
        if sets:
            copy.run("python", "-m", "medtune", "params", "set", *sets)
        yield copy


@contextmanager
def empty() -> Iterator[Checkout]:
    """A project of two DVC stages that copy a word, run once."""
    with TemporaryDirectory(prefix="medtune-") as place:
        made = Checkout(Path(place))
        made.run("git", "init", "--quiet")
        made.run("dvc", "init", "--quiet")
        shutil.copy(PROJECT / ".dvc" / "config", made.folder / ".dvc" / "config")
        (made.folder / "word").write_text("word\n")
        (made.folder / "dvc.yaml").write_text(
            "stages:\n"
            "  first: {cmd: cp word one, deps: [word], outs: [one]}\n"
            "  second: {cmd: cp one two, deps: [one], outs: [two]}\n"
        )
        made.run("dvc", "repro")
        yield made
