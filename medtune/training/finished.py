"""A training stage that is finished, and what its run left beside it."""

import shutil
from pathlib import Path

from medtune.runtime import distributed
from medtune.runtime.artifact import Artifact, checkpoint_dir, find_artifact


def find_finished(folder: Path, key: str) -> Artifact | None:
    """The finished artifact at `folder`, or None; its own run's checkpoints are cleared away.

    They are still there where that run was killed just after it published. Those of another key stay: that run may
    yet go on.
    """
    with distributed.main_process_first():
        done = find_artifact(folder, key)
        if done and distributed.rank() == 0 and (left := checkpoint_dir(folder)).exists():
            from medtune.training import checkpoint

            files = list(left.rglob("*.safetensors"))
            if not files or any(checkpoint.read(file, key) for file in files):
                shutil.rmtree(left, ignore_errors=True)
    return done
