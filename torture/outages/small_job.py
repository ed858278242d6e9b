"""The small job by its real commands, in a folder of its own; what they leave, and whether it is right."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtune.config.load import yaml_loader
from medtune.config.project import PROJECT
from medtune.runtime.artifact import RESULT_FILE, file_sha256
from torture.job import TREE
from torture.wrong.expected_errors import Case, Ended, ask

OURS = ("PREFECT_", "WANDB_", "DVC_", "MEDTUNE_", "TORTURE_")
STEPS = (*(f"{stage} fold {fold}" for fold in range(3) for stage in ("frozen", "finetune")), "evaluate", "export")
TRACEBACK = "Traceback (most recent call last)"


@dataclass
class SmallJob:
    """One output folder, its cache, and its params file, written from `tree`."""

    folder: Path
    tree: dict[str, Any] = field(default_factory=lambda: TREE)
    out: Path = field(init=False)
    cache: Path = field(init=False)
    file: Path = field(init=False)

    def __post_init__(self) -> None:
        self.out, self.cache, self.file = self.folder / "out", self.folder / "cache", self.folder / "small.yaml"
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.file.open("w", encoding="utf-8") as stream:
            yaml_loader().dump(self.tree, stream)

    def words(self, *more: str) -> tuple[str, ...]:
        """What every command is told."""
        return ("--params", str(self.file), "--out", str(self.out), *more)

    def here(self, command: str, *more: str) -> Ended:
        """Runs a command in this process: seconds less, each."""
        settings = {"MEDTUNE_CACHE": str(self.cache), "MEDTUNE_DEVICE": "cpu", "WANDB_MODE": "disabled"}
        return ask(Case("", command, self.words(*more), (), environment=settings))

    def begin(self, command: str, *more: str, **environment: str) -> "subprocess.Popen[str]":
        """Starts a command as a process."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        own = {"MEDTUNE_CACHE": str(self.cache), "MEDTUNE_DEVICE": "cpu", "OMP_NUM_THREADS": "1", **environment}
        return subprocess.Popen(
            [sys.executable, "-m", "medtune", *command.split(), *self.words(*more)],
            cwd=PROJECT,
            env={**inherited, **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str, *more: str, limit_s: float = 300.0, **environment: str) -> tuple[Ended, float]:
        """Runs a command as a process; how it ended, and its seconds."""
        begun = time.monotonic()
        ended = wait(self.begin(command, *more, **environment), limit_s)
        return ended, time.monotonic() - begun

    def content(self) -> dict[str, str]:
        """Digest of every finished file that does not say when, where or how long."""
        return {
            path.relative_to(self.out).as_posix(): file_sha256(path)
            for path in sorted(self.out.rglob("*"))
            if path.is_file() and path.name in ("model.safetensors", "model.onnx", "predictions.csv", "images.npy",
                                                "manifest.csv", "metrics.json", "sample_output.npy")
        }  # fmt: skip

    def stray(self) -> list[str]:
        """Unfinished or temporary files that are left, the lock apart."""
        found = [path for path in self.out.rglob(".*") if path.name not in (".lock", ".filler")]
        return [path.relative_to(self.out).as_posix() for path in found]

    def broken(self) -> list[str]:
        """Finished folders of which a file is not what was written."""
        from medtune.runtime.artifact import find_artifact

        folders = [path.parent for path in self.out.rglob(RESULT_FILE) if ".partial" not in str(path)]
        return [folder.relative_to(self.out).as_posix() for folder in folders if find_artifact(folder) is None]


def wait(process: "subprocess.Popen[str]", limit_s: float) -> Ended:
    """How a process ended; killed, and with no code, where it did not end in time."""
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return Ended(None, out, f"{err}\ndid not end within {limit_s:.0f} s")
    return Ended(process.returncode, out, err)


def states(printed: str) -> list[tuple[str, str]]:
    """Each step with `running` or `cached`, in the order that they were said."""
    return re.findall(r"^(.+): (cached|running) \(key \w{6}\)$", printed, re.MULTILINE)


def told(ended: Ended) -> str | None:
    """What is wrong with how a run that could not go on said so; None: one line, a code, no traceback."""
    if ended.code in (0, None) or TRACEBACK in ended.err + ended.out:
        return f"code {ended.code}: {ended.err[-300:]!r}"
    lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    return None if len(lines) == 1 else f"{len(lines)} lines of error: {ended.err[-300:]!r}"
