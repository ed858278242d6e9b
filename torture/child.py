"""`python -m torture.child SCENARIO PART full|small FOLDER FILE`: one part, its outcome into FILE."""

import json
import sys
from pathlib import Path

from medtune.runtime.artifact import write_text
from torture.registry import load


def main(name: str, part: str, form: str, folder: str, file: str) -> None:
    """Runs the part; an error ends the process, and that is the outcome."""
    outcome = load(name).run(part, Path(folder), full=form == "full")
    write_text(Path(file), json.dumps(outcome.as_dict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
