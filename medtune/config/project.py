"""The two places that MedTune reads from: the installed package and the user's project."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
PARAMS_FILE = "params.yaml"


def find_project(start: Path | None = None) -> Path:
    """Return the project folder: `$MEDTUNE_PROJECT`, else the nearest folder above `start` with a params.yaml.

    Args:
        start: where to begin the search; None is the working directory.

    Returns:
        An absolute folder; `start` itself if no params.yaml is found.
    """
    if named := os.environ.get("MEDTUNE_PROJECT"):
        return Path(named).expanduser().resolve()
    start = (start or Path.cwd()).resolve()
    return next((folder for folder in (start, *start.parents) if (folder / PARAMS_FILE).is_file()), start)


PROJECT = find_project()
