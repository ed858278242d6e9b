"""Folders of the installed package and of the user's project."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
PARAMS_FILE = "params.yaml"


def find_project(start: Path | None = None) -> Path:
    """Return the project folder: `$MEDTUNE_PROJECT`, or the nearest folder with a params.yaml.

    Args:
        start: folder where the search begins. Its parents follow. None is the working directory.

    Returns:
        Absolute folder. `start` if no params.yaml is found.
    """
    if named := os.environ.get("MEDTUNE_PROJECT"):
        return Path(named).expanduser().resolve()
    start = (start or Path.cwd()).resolve()
    return next((folder for folder in (start, *start.parents) if (folder / PARAMS_FILE).is_file()), start)


PROJECT = find_project()
