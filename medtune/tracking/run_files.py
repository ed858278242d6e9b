"""The folders that W&B recorded runs in: one a process, so several for a run that was resumed."""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = re.compile(r"(offline-)?run-(\d{8}_\d{6})-(.+)")


@dataclass(frozen=True)
class RunFile:
    """What one process recorded of a run.

    Attributes:
        file: the .wandb file.
        run_id: W&B's id.
        start_time: date and time as in the folder's name; sorts.
        offline: recorded without a server.
    """

    file: Path
    run_id: str
    start_time: str
    offline: bool

    @property
    def synced_marker(self) -> Path:
        """The file beside it that W&B makes when it has uploaded it."""
        return self.file.with_name(f"{self.file.name}.synced")

    @property
    def pending_marker(self) -> Path:
        """The file beside an online run that says that its upload was cut off."""
        return self.file.with_name(f"{self.file.name}.unsent")

    @property
    def pending(self) -> bool:
        """True where W&B's server does not have it all yet."""
        return not self.synced_marker.exists() and (self.offline or self.pending_marker.exists())


def list_run_files(cache: Path, run_id: str = "*") -> list[RunFile]:
    """Every part under the project's cache folder, or those of one run, oldest first."""
    files = []
    for file in (cache / "wandb").glob(f"*run-*-{run_id}/run-*.wandb"):
        if named := FOLDER.fullmatch(file.parent.name):  # latest-run is a link to one of them
            files.append(RunFile(file, named[3], named[2], named[1] is not None))
    return sorted(files, key=lambda run_file: (run_file.start_time, run_file.file))
