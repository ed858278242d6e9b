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
from medtune.tracking.run_files import Part

TIMEOUT_S = 900.0
# A killed process leaves a last record that is cut off; everything before it was uploaded.
CUT_OFF = "incomplete transaction log"


def upload(part: Part, cache: Path, project: str | None = None, entity: str | None = None) -> str | None:
    """Uploads one part and leaves W&B's mark beside it; where that failed: no mark, and what went wrong.

    Args:
        part: what to upload.
        cache: the project's.
        project, entity: where to; None: as recorded.
    """
    with tempfile.TemporaryDirectory(prefix="medtune-sync-") as work:
        words = [sys.executable, "-m", "wandb", "sync", "--yes", "--include-online", "--include-synced"]
        words += [f"--{name}={value}" for name, value in (("project", project), ("entity", entity)) if value]
        try:
            done = subprocess.run(
                [*words, str(part.file)],
                env=_environment(cache, work),
                cwd=work,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
            )
            faults = _faults(Path(work)) or (
                [] if done.returncode == 0 else [last_line(done.stderr, "wandb sync failed and printed nothing")]
            )
        except subprocess.TimeoutExpired:
            faults = [f"not done after {TIMEOUT_S:g} s"]
    cut_off = [fault for fault in faults if CUT_OFF in fault]
    if cut_off and cut_off == faults:
        part.mark.touch()
    elif faults or not part.mark.exists():
        part.mark.unlink(missing_ok=True)
        return faults[-1] if faults else "wandb sync did not mark it as uploaded"
    part.unsent.unlink(missing_ok=True)
    return None


def _environment(cache: Path, work: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if name not in ("WANDB_SILENT", "WANDB_QUIET")}
    own = {"WANDB_MODE": "online", "WANDB_DIR": work, "WANDB_DATA_DIR": str(cache / "wandb" / "data")}
    # The program is sent along; it would be the path of this environment.
    return {**ours, **own, "WANDB_PROGRAM": redact.NAME, **redact.ENVIRONMENT}


def _faults(work: Path) -> list[str]:
    """The errors that W&B's own process logged."""
    found = []
    for log in sorted((work / "wandb" / "logs").glob("debug-sync*.log")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if str(entry.get("level", "")).startswith("ERROR"):
                found.append(" ".join(f"{entry.get('msg', '')} {entry.get('error', '')}".split())[:300])
    return found
