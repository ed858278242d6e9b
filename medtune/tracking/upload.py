"""Upload of one recording with `wandb sync`, and a check that the upload succeeded.

`wandb sync` marks a recording as uploaded and exits 0 even if the server rejected its points or artifacts. Only the log
of W&B's process contains the errors. This module reads that log and removes the marker after an error.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from medtune.serving.one_line import last_line
from medtune.tracking import redact
from medtune.tracking.run_files import RunFile

TIMEOUT_S = 900.0
# A killed process leaves a truncated last record. All earlier records are uploaded.
TRUNCATED = "incomplete transaction log"


def upload_run(run_file: RunFile, cache: Path, project: str | None = None, entity: str | None = None) -> str | None:
    """Upload one recording and mark it as uploaded.

    Args:
        run_file: recording to upload.
        cache: cache folder of the project.
        project: destination project; None for the recorded project.
        entity: destination team or user; None for the recorded entity.

    Returns:
        None after a complete upload, otherwise the reason of the failure.
    """
    with tempfile.TemporaryDirectory(prefix="medtune-sync-") as tmp_dir:
        command = [sys.executable, "-m", "wandb", "sync", "--yes", "--include-online", "--include-synced"]
        command += [f"--{name}={value}" for name, value in (("project", project), ("entity", entity)) if value]
        try:
            completed = subprocess.run(
                [*command, str(run_file.file)],
                env=_environment(cache, tmp_dir),
                cwd=tmp_dir,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
            )
            errors = _logged_errors(Path(tmp_dir)) or (
                []
                if completed.returncode == 0
                else [last_line(completed.stderr, "wandb sync failed and printed nothing")]
            )
        except subprocess.TimeoutExpired:
            errors = [f"wandb sync did not finish within {TIMEOUT_S:g} s"]
    if errors and all(TRUNCATED in error for error in errors):
        run_file.synced_marker.touch()
    elif errors or not run_file.synced_marker.exists():
        run_file.synced_marker.unlink(missing_ok=True)
        return errors[-1] if errors else "wandb sync did not mark the run as uploaded"
    run_file.pending_marker.unlink(missing_ok=True)
    return None


def _environment(cache: Path, tmp_dir: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("WANDB_SILENT", "WANDB_QUIET")}
    overrides = {"WANDB_MODE": "online", "WANDB_DIR": tmp_dir, "WANDB_DATA_DIR": str(cache / "wandb" / "data")}
    # W&B uploads the program's path, which would be the local path of this environment.
    return {**inherited, **overrides, "WANDB_PROGRAM": redact.NAME, **redact.ENVIRONMENT}


def _logged_errors(tmp_dir: Path) -> list[str]:
    """Return the errors in the log of W&B's process."""
    errors = []
    for log in sorted((tmp_dir / "wandb" / "logs").glob("debug-sync*.log")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if str(entry.get("level", "")).startswith("ERROR"):
                errors.append(" ".join(f"{entry.get('msg', '')} {entry.get('error', '')}".split())[:300])
    return errors
