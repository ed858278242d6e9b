"""Offline reader of `.wandb` files.

The wandb package contains the program wandb-core, which writes these files. The command `wandb-core leet inspect
--json` prints the records of a file as JSON.
"""

import json
import math
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class RecordedArtifact:
    """Artifact that a run read or produced.

    Attributes:
        name: name of the W&B collection.
        type: `dataset`, `model` or `bundle`.
        digest: W&B's digest of the content.
        metadata: facts that W&B shows next to the artifact.
    """

    name: str
    type: str
    digest: str
    metadata: dict[str, Any]


@dataclass
class RecordedRun:
    """Recorded run, or the part of a run that one process recorded.

    Attributes:
        run_id: W&B's run id. Empty if the process was killed before it wrote a record.
        name: display name.
        group: pipeline key, shared by all stages of one flow run.
        job_type: stage.
        host: host name as recorded.
        project: W&B project.
        entity: W&B team or user.
        config: params and provenance.
        history: one mapping per logged step, in order. `_step` is the step.
        summary: final values by name.
        used: artifacts that the run read.
        made: artifacts that the run published.
        files: names of the files that are uploaded with the run.
        exit_code: exit code, or None if the run never finished.
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
        """Return the values of metric `name` by step."""
        return {row["_step"]: row[name] for row in self.history if name in row}

    @property
    def last_step(self) -> int:
        """Last recorded step, or -1."""
        return max((row["_step"] for row in self.history), default=-1)


def read_run(path: Path) -> RecordedRun:
    """Read the run in one `run-<id>.wandb` file.

    Args:
        path: the file. A truncated file is read up to its last complete record.

    Returns:
        The recorded run.

    Raises:
        ValueError: the file is not a .wandb file.
    """
    recorded = RecordedRun()
    for record in _records(path):
        _add_record(record["type"], record.get(record["type"]) or {}, recorded)
    return recorded


def _records(path: Path) -> list[dict[str, Any]]:
    from wandb.util import get_core_path

    command = [get_core_path(), "leet", "inspect", "--no-observability", "--json", "--run-file", str(path)]
    completed = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if completed.returncode:
        raise ValueError(f"{path.name} is not a .wandb file: {completed.stderr.strip()[:200]}")
    return [json.loads(line) for line in completed.stdout.splitlines()]


def _add_record(kind: str, body: dict[str, Any], run: RecordedRun) -> None:
    """Add the content of one record to `run`; other kinds of records are ignored."""
    if kind == "run":
        run.run_id, run.name = body["run_id"], body.get("display_name", "")
        run.group, run.job_type = body.get("run_group", ""), body.get("job_type", "")
        run.host = body.get("host", "")
        run.project, run.entity = body.get("project", ""), body.get("entity", "")
        run.config.update(body.get("config", {}).get("update", {}))
    elif kind == "config":
        run.config.update(body.get("update", {}))
    elif kind == "history":
        run.history.append(_values(body["item"]))
    elif kind == "summary":
        run.summary.update(_values(body.get("update", {})))
    elif kind == "files":
        run.files += [file["path"] for file in body.get("files", [])]
    elif kind == "artifact":
        version = RecordedArtifact(body["name"], body["type"], body["digest"], json.loads(body.get("metadata") or "{}"))
        (run.used if body.get("use_after_commit") else run.made).append(version)
    elif kind == "exit":
        run.exit_code = body["exit_code"]


def _values(items: dict[str, Any]) -> dict[str, Any]:
    """Return values by name; merge the fields of an image or table (`test/roc._type`, ...) into one mapping."""
    values: dict[str, Any] = {}
    for name, value in items.items():
        parent, dot, field_name = name.rpartition(".")
        if dot and f"{parent}._type" in items:
            values.setdefault(parent, {})[field_name] = value
        else:
            values[name] = NUMBERS.get(value, value) if isinstance(value, str) else value
    return values
