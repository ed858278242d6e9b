"""Local folders with W&B recordings. Each process writes one folder, so a resumed run has several."""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = re.compile(r"(offline-)?run-(\d{8}_\d{6})-(.+)")


@dataclass(frozen=True)
class RunFile:
    """Recording of a run by one process.

    Attributes:
        file: the .wandb file.
        run_id: W&B's run id.
        start_time: date and time as in the folder's name, in a sortable format.
        offline: True if the run was recorded without a server.
    """

    file: Path
    run_id: str
    start_time: str
    offline: bool

    @property
    def synced_marker(self) -> Path:
        """Marker file that W&B creates after a complete upload."""
        return self.file.with_name(f"{self.file.name}.synced")

    @property
    def pending_marker(self) -> Path:
        """Marker file of an online run whose upload was interrupted."""
        return self.file.with_name(f"{self.file.name}.unsent")

    @property
    def pending(self) -> bool:
        """True if the upload to W&B is not complete."""
        return not self.synced_marker.exists() and (self.offline or self.pending_marker.exists())


def list_run_files(cache: Path, run_id: str = "*") -> list[RunFile]:
    """List the recordings under the project's cache folder, oldest first; `run_id` selects one run."""
    files = []
    for file in (cache / "wandb").glob(f"*run-*-{run_id}/run-*.wandb"):
        if match := FOLDER.fullmatch(file.parent.name):  # skips latest-run, a link to another folder
            files.append(RunFile(file, match[3], match[2], match[1] is not None))
    return sorted(files, key=lambda run_file: (run_file.start_time, run_file.file))
