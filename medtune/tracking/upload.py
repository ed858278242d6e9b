"""One recorded part to W&B's server, by W&B's own `wandb sync`, and whether it got there.

`wandb sync` marks a part as uploaded, and exits 0, also where the server refused its points or its artifacts; what
went wrong stands in the log of W&B's own process alone. So that log is read, and the mark taken back.
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
# A killed process leaves a last record that is cut off; everything before it was uploaded.
CUT_OFF = "incomplete transaction log"


def upload_run(run_file: RunFile, cache: Path, project: str | None = None, entity: str | None = None) -> str | None:
    """Uploads one part and leaves W&B's mark beside it; where that failed: no mark, and what went wrong.

    Args:
        run_file: what to upload.
        cache: the project's.
        project, entity: where to; None: as recorded.
    """
    with tempfile.TemporaryDirectory(prefix="medtune-sync-") as tmp_dir:
        words = [sys.executable, "-m", "wandb", "sync", "--yes", "--include-online", "--include-synced"]
        words += [f"--{name}={value}" for name, value in (("project", project), ("entity", entity)) if value]
        try:
            completed = subprocess.run(
                [*words, str(run_file.file)],
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
            errors = [f"not done after {TIMEOUT_S:g} s"]
    cut_off = [error for error in errors if CUT_OFF in error]
    if cut_off and cut_off == errors:
        run_file.synced_marker.touch()
    elif errors or not run_file.synced_marker.exists():
        run_file.synced_marker.unlink(missing_ok=True)
        return errors[-1] if errors else "wandb sync did not mark it as uploaded"
    run_file.pending_marker.unlink(missing_ok=True)
    return None


def _environment(cache: Path, tmp_dir: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if name not in ("WANDB_SILENT", "WANDB_QUIET")}
    overrides = {"WANDB_MODE": "online", "WANDB_DIR": tmp_dir, "WANDB_DATA_DIR": str(cache / "wandb" / "data")}
    # The program is sent along; it would be the path of this environment.
    return {**ours, **overrides, "WANDB_PROGRAM": redact.NAME, **redact.ENVIRONMENT}


def _logged_errors(tmp_dir: Path) -> list[str]:
    """The errors that W&B's own process logged."""
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
