"""Prepared volumes and a network per fold with random weights, written without the stages that produce them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from medtune.config.load import validate
from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset, load_prepared
from medtune.runtime.artifact import Artifact, commit, partial_dir
from medtune.runtime.cache_key import data_key
from medtune.runtime.paths import RunPaths
from medtune.stages.step_keys import frozen_key
from medtune.tasks import base
from medtune.training import checkpoint
from tests.small_world import World
from tests.volume_world import write_prepared_volumes

HISTORY = "epoch,step,lr,train/loss,val/loss,val/dice,seconds\n1,3,0.1,1.7,1.6,0.2,1\n2,6,0.1,1.5,1.5,0.3,1\n"


@pytest.fixture
def make_volume_world(tmp_path: Path) -> Callable[..., World]:
    """Return a function that writes nine volumes of 16 voxels and a decoder without a backbone per fold."""

    def make(test_fold: int | str = "all", ruin: bool = False) -> World:
        params = validate(
            {
                "task": {"kind": "segmentation"},
                "schedule": "frozen",
                "data": {
                    "source": "phantom",
                    "patients": 9,
                    "size": 16,
                    "split": {"folds": 3, "test_fold": test_fold},
                },
                "model": {
                    "backbone": "none",
                    "weights": "none",
                    "head": {"kind": "decoder"},
                    "peft": {"method": "none"},
                },
                "frozen": {"monitor": "dice"},
                "finetune": {"monitor": "dice"},
                "gate": {"metric": "dice"},
                "tracking": {"mode": "disabled"},
            }
        )
        paths = RunPaths(tmp_path, tmp_path / "cache")
        write_prepared_volumes(paths.prepared, params, data_key(params))
        prepared = load_prepared(paths.prepared)
        folds = params.data.split.trained_folds
        return World(params, paths, [write_trained(paths, params, prepared, fold, ruin) for fold in folds])

    return make


def write_trained(paths: RunPaths, params: Params, prepared: PreparedDataset, fold: int, ruin: bool) -> Artifact:
    """Write a network with random weights; `ruin` makes its output NaN."""
    task = base.training("segmentation")
    layout = task.layout(prepared)
    model = task.build(params.model_copy(update={"seed": fold}), layout)
    weights = model.state_dict()
    if ruin:
        weights = {name: torch.full_like(value, torch.nan) for name, value in weights.items()}
    folder, key = paths.stage("frozen", fold), frozen_key(params, prepared, fold)
    work = partial_dir(folder)
    work.mkdir(parents=True)
    checkpoint.save(work / "model.safetensors", weights, {"key": key, "holds": "all", "epoch": 2})
    (work / "history.csv").write_text(HISTORY)
    result = {
        "stage": "frozen",
        "fold": fold,
        "kept": "frozen",
        "classes": list(prepared.classes),
        "layout": layout,
        "params": params.model_dump(mode="json"),
        "data_digest": prepared.digest,
    }
    return commit(folder, key, result)
