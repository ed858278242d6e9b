"""The small job as commands of `medtune`, in a folder with its params, outputs and cache."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from medtune.cli.main import call
from medtune.config.load import yaml_loader
from medtune.config.project import PROJECT
from medtune.runtime.artifact import RESULT_FILE, file_sha256, find_artifact
from tests.robustness.job import TREE, params

TRAININGS = [f"{stage} fold {fold}" for fold in range(3) for stage in ("frozen", "finetune")]
STEPS = [*TRAININGS, "evaluate", "export"]
# Files without times, paths or durations.
RESULTS = {
    "model.safetensors", "model.onnx", "predictions.csv", "images.npy", "manifest.csv", "metrics.json",
    "sample_output.npy", "volumes.npy", "masks.npy", "truth.npy", "volumes.json", "cases.csv",
}  # fmt: skip
TRACEBACK = "Traceback (most recent call last)"
TIMEOUT_S = 300.0
Completed = subprocess.CompletedProcess[str]


class Job:
    """The folder of a job, with its params file, output folder and cache folder."""

    def __init__(self, folder: Path, *overlays: dict[str, Any], base: dict[str, Any] = TREE) -> None:
        self.folder, self.out, self.cache = folder, folder / "out", folder / "cache"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "params.yaml").open("w", encoding="utf-8") as stream:
            yaml_loader().dump(params(*overlays, base=base).model_dump(mode="json"), stream)

    def copy(self, folder: Path) -> "Job":
        """Copy the job with its outputs and cache."""
        shutil.copytree(self.folder, folder)
        return Job(folder)

    def words(self, command: str) -> list[str]:
        """Return the arguments of `medtune` for a command like `train --no-prefect`."""
        return [*command.split(), "--params", str(self.folder / "params.yaml"), "--out", str(self.out)]

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the variables of a process: those of this one, without settings of MedTune, Prefect and W&B."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "WANDB_", "MEDTUNE_"))}
        return {**inherited, "MEDTUNE_CACHE": str(self.cache), "MEDTUNE_DEVICE": "cpu", **variables}

    def run_here(self, command: str) -> Completed:
        """Run a command in this process, which takes seconds less."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.setenv("MEDTUNE_CACHE", str(self.cache))
            try:
                code = call(self.words(command))
            except Exception:
                code = 1
                traceback.print_exc()
        return subprocess.CompletedProcess([command], code, out.getvalue(), err.getvalue())

    def run(self, command: str, **variables: str) -> Completed:
        """Run a command in a new process. Its stdout contains its stderr."""
        with self.started("medtune", *self.words(command), **variables) as process:
            out, _ = process.communicate(timeout=TIMEOUT_S)
        return subprocess.CompletedProcess([command], process.returncode, out, "")

    @contextlib.contextmanager
    def started(
        self, *words: str, stderr: int = subprocess.STDOUT, **variables: str
    ) -> Iterator["subprocess.Popen[str]"]:
        """Start `python -m` with these words. The process is killed if it still runs at the end of the block."""
        environment, pipe = self.environment(**variables), subprocess.PIPE
        command = [sys.executable, "-m", *words]
        with subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdin=pipe, stdout=pipe, stderr=stderr, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def content(self) -> dict[str, str]:
        """Return the SHA-256 of every result file by name."""
        paths = [path for path in self.out.rglob("*") if path.name in RESULTS]
        return {path.relative_to(self.out).as_posix(): file_sha256(path) for path in paths}

    def artifacts(self) -> set[Path]:
        """Return the folders of all finished artifacts."""
        return {path.parent for path in self.out.rglob(RESULT_FILE) if ".partial" not in str(path)}

    def difference(self, expected: Mapping[str, str]) -> str | None:
        """Return a message if results differ from `expected`, artifacts are damaged or temporary files remain."""
        content = self.content()
        for name in sorted(content.keys() | expected.keys()):
            if content.get(name) != expected.get(name):
                return f"{name} is {'different' if name in content else 'missing'}"
        leftovers = [path.name for path in self.out.rglob(".*") if path.name != ".lock"]
        return f"{leftovers[0]} remains" if leftovers else damage(self.artifacts())


def failure(done: Completed) -> str | None:
    """Return a message if a command failed."""
    if done.returncode == 0 and TRACEBACK not in done.stdout + done.stderr:
        return None
    return f"{done.args[0]}: exit code {done.returncode}: {(done.stderr or done.stdout)[-400:]!r}"


def damage(folders: Iterable[Path]) -> str | None:
    """Return a message if one of these artifacts is missing or damaged."""
    return next((f"{folder} is missing or damaged" for folder in sorted(folders) if not find_artifact(folder)), None)


def started_steps(out: str) -> list[str]:
    """Return the steps that a training reports as running, in order."""
    return re.findall(r"(?m)^(.+): running \(key \w{6}\)$", out)
