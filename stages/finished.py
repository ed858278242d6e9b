"""A training stage that is finished, and what its run left beside it."""

import shutil
from pathlib import Path

from config import ranks
from config.artifact import Artifact, checkpoints, find


def finished(folder: Path, key: str) -> Artifact | None:
    """The finished artifact at `folder`, or None; its own run's checkpoints are cleared away.

    They are still there where that run was killed just after it published. Those of another key stay: that run may
    yet go on.
    """
    with ranks.first():
        done = find(folder, key)
        if done and ranks.rank() == 0 and (left := checkpoints(folder)).exists():
            from training import checkpoint

            file = left / checkpoint.FILE
            if not file.exists() or checkpoint.read(file, key):
                shutil.rmtree(left, ignore_errors=True)
    return done
