"""The folders that W&B recorded runs in: one a process, so several for a run that was resumed."""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = re.compile(r"(offline-)?run-(\d{8}_\d{6})-(.+)")


@dataclass(frozen=True)
class Part:
    """What one process recorded of a run.

    Attributes:
        file: the .wandb file.
        run_id: W&B's id.
        began: date and time as in the folder's name; sorts.
        offline: recorded without a server.
    """

    file: Path
    run_id: str
    began: str
    offline: bool

    @property
    def mark(self) -> Path:
        """The file beside it that W&B makes when it has uploaded it."""
        return self.file.with_name(f"{self.file.name}.synced")

    @property
    def unsent(self) -> Path:
        """The file beside an online run that says that its upload was cut off."""
        return self.file.with_name(f"{self.file.name}.unsent")

    @property
    def waits(self) -> bool:
        """True where W&B's server does not have it all yet."""
        return not self.mark.exists() and (self.offline or self.unsent.exists())


def parts(cache: Path, run_id: str = "*") -> list[Part]:
    """Every part under the project's cache folder, or those of one run, oldest first."""
    found = []
    for file in (cache / "wandb").glob(f"*run-*-{run_id}/run-*.wandb"):
        if named := FOLDER.fullmatch(file.parent.name):  # latest-run is a link to one of them
            found.append(Part(file, named[3], named[2], named[1] is not None))
    return sorted(found, key=lambda part: (part.began, part.file))
