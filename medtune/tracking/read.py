"""What was recorded, read back from `.wandb` files without the network, by W&B's own reader.

wandb-core, the program that the wandb package brings and that writes these files, prints their records as JSON:
`wandb leet inspect --json`.
"""

import json
import math
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtune.tracking.run_files import list_run_files

NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class RecordedArtifact:
    """An artifact as a run recorded it: what it read or what it made.

    Attributes:
        digest: W&B's, over the content.
    """

    name: str
    type: str
    digest: str
    metadata: dict[str, Any]


@dataclass
class RecordedRun:
    """One recorded run, or one process's part of it.

    Attributes:
        run_id: W&B's id; empty where nothing was written before the process was killed.
        history: one mapping a logged step, in order; `_step` is the step.
        used, made: artifacts that it read, and that it published.
        files: names of the files that are uploaded with it.
        exit_code: None where it never finished.
    """

    run_id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    host: str = ""
    project: str = ""
    entity: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    used: list[RecordedArtifact] = field(default_factory=list)
    made: list[RecordedArtifact] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    exit_code: int | None = None

    def curve(self, name: str) -> dict[int, Any]:
        """A metric's value at each step that has one."""
        return {row["_step"]: row[name] for row in self.history if name in row}

    @property
    def last_step(self) -> int:
        """-1 where no step is recorded."""
        return max((row["_step"] for row in self.history), default=-1)


def read_run(path: Path) -> RecordedRun:
    """The run in one `run-<id>.wandb` file; one that was cut off is read as far as it goes.

    Raises:
        ValueError: it is no .wandb file.
    """
    recorded = RecordedRun()
    for record in _records(path):
        _take(record["type"], record.get(record["type"]) or {}, recorded)
    return recorded


def read_runs(cache: Path) -> list[RecordedRun]:
    """Every part of every run recorded offline under the project's cache folder, oldest first."""
    return [read_run(part.file) for part in list_run_files(cache) if part.offline]


def merge_parts(recorded: Iterable[RecordedRun]) -> dict[str, RecordedRun]:
    """Runs by id, the parts of one put together as they come: what W&B will show of it."""
    runs: dict[str, RecordedRun] = {}
    for part in recorded:
        run = runs.setdefault(part.run_id, RecordedRun())
        run.run_id, run.name, run.group, run.job_type = part.run_id, part.name, part.group, part.job_type
        run.project, run.entity, run.exit_code = part.project, part.entity, part.exit_code
        run.config.update(part.config)
        run.summary.update(part.summary)
        run.history += part.history
        run.files += part.files
        run.used += [version for version in part.used if version not in run.used]
        run.made += [version for version in part.made if version not in run.made]
    return runs


def _records(path: Path) -> list[dict[str, Any]]:
    from wandb.util import get_core_path

    words = [get_core_path(), "leet", "inspect", "--no-observability", "--json", "--run-file", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise ValueError(f"{path.name} is no .wandb file: {done.stderr.strip()[:200]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _take(kind: str, body: dict[str, Any], into: RecordedRun) -> None:
    if kind == "run":
        into.run_id, into.name = body["run_id"], body.get("display_name", "")
        into.group, into.job_type = body.get("run_group", ""), body.get("job_type", "")
        into.host = body.get("host", "")
        into.project, into.entity = body.get("project", ""), body.get("entity", "")
        into.config.update(body.get("config", {}).get("update", {}))
    elif kind == "config":
        into.config.update(body.get("update", {}))
    elif kind == "history":
        into.history.append(_values(body["item"]))
    elif kind == "summary":
        into.summary.update(_values(body.get("update", {})))
    elif kind == "files":
        into.files += [file["path"] for file in body.get("files", [])]
    elif kind == "artifact":
        version = RecordedArtifact(body["name"], body["type"], body["digest"], json.loads(body.get("metadata") or "{}"))
        (into.used if body.get("use_after_commit") else into.made).append(version)
    elif kind == "exit":
        into.exit_code = body["exit_code"]


def _values(items: dict[str, Any]) -> dict[str, Any]:
    """Metric names to values; a picture's or a table's fields (`test/roc._type`, ...) in one mapping."""
    found: dict[str, Any] = {}
    for name, value in items.items():
        whole, dot, part = name.rpartition(".")
        if dot and f"{whole}._type" in items:
            found.setdefault(whole, {})[part] = value
        else:
            found[name] = NUMBERS.get(value, value) if isinstance(value, str) else value
    return found
