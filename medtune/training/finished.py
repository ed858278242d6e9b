"""Lookup of finished training stages and cleanup of their checkpoints."""

import shutil
from pathlib import Path

from medtune.runtime import distributed
from medtune.runtime.artifact import Artifact, checkpoint_dir, find_artifact


def find_finished(folder: Path, key: str) -> Artifact | None:
    """Find a finished artifact and delete the checkpoints of its run.

    Checkpoints remain if a run was killed just after it published its artifact. Checkpoints of another key are not
    deleted, because the run of that key may be resumed.

    Args:
        folder: artifact folder.
        key: cache key.

    Returns:
        The artifact; None if there is none with this key.
    """
    with distributed.main_process_first():
        artifact = find_artifact(folder, key)
        if artifact and distributed.rank() == 0 and (checkpoints := checkpoint_dir(folder)).exists():
            from medtune.training import checkpoint

            files = list(checkpoints.rglob("*.safetensors"))
            if not files or any(checkpoint.read(file, key) for file in files):
                shutil.rmtree(checkpoints, ignore_errors=True)
    return artifact
