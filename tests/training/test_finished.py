"""Cleanup of checkpoints next to a finished artifact."""

import pytest
import torch

from medtune.runtime.artifact import checkpoint_dir, commit, partial_dir
from medtune.training import checkpoint
from medtune.training.finished import find_finished


@pytest.mark.parametrize(("key", "remains"), [("key", False), ("another run", True), (None, False)])
def test_find_finished__deletes_only_checkpoints_of_its_run(tmp_path, key, remains):
    folder = tmp_path / "fold-1"
    assert find_finished(folder, "key") is None
    partial_dir(folder).mkdir()
    artifact = commit(folder, "key", {})
    checkpoint_dir(folder).mkdir()
    if key:
        checkpoint.save(checkpoint_dir(folder) / checkpoint.CHECKPOINT_FILE, {"a": torch.zeros(2)}, {"key": key})
    assert find_finished(folder, "another") is None
    assert checkpoint_dir(folder).exists()
    assert find_finished(folder, "key") == artifact
    assert checkpoint_dir(folder).exists() == remains
