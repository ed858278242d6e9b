"""A small real job: synthetic images, the real data stage, a bundled backbone, all stages in a few seconds."""

import json
from pathlib import Path
from typing import Any

from medtune.config.load import merge, validate
from medtune.config.schema import Params
from medtune.runtime.paths import RunPaths

# Twelve patients of four images at 32 pixels, in three folds; a checkpoint at every step.
TREE: dict[str, Any] = {
    "data": {
        "source": "synthetic",
        "image_size": 32,
        "patients": 12,
        "images_per_patient": 4,
        "split": {"folds": 3, "test_fold": 1},
    },
    "model": {
        "backbone": "test_vit",
        "weights": "bundled",
        "backbone_args": {"img_size": 32},
        "head": {"kind": "cdtm", "centers": 4},
        "peft": {"method": "none"},
    },
    "frozen": {"epochs": 2, "lr": 3e-4, "batch_size": 4, "feature_views": 2, "checkpoint_seconds": 0},
    "finetune": {"epochs": 2, "lr": 3e-5, "batch_size": 4, "checkpoint_seconds": 0},
    "export": {"parity_images": 16, "precisions": ["fp32"]},
    "tracking": {"mode": "disabled"},
}
# Nine patients of one volume at 16 voxels. The features of the slices are stored. No controls are trained.
_VOLUMES_TRAINING = {"epochs": 2, "lr": 1e-2, "batch_size": 2, "monitor": "dice", "checkpoint_seconds": 0}
VOLUMES: dict[str, Any] = {
    "task": {"kind": "segmentation", "controls": []},
    "data": {
        "source": "phantom", "patients": 9, "size": 16, "patch": [16, 16, 16], "split": {"folds": 3, "test_fold": 1}
    },
    "model": {
        "backbone": "test_vit",
        "weights": "none",
        "backbone_args": {},
        "head": {"kind": "decoder"},
        "peft": {"method": "lora"},
    },
    "frozen": {**_VOLUMES_TRAINING, "feature_views": 2},
    "finetune": _VOLUMES_TRAINING,
    "gate": {"metric": "dice"},
    "export": {"parity_images": 4, "precisions": ["fp32"]},
    "tracking": {"mode": "disabled"},
}  # fmt: skip
CNN: dict[str, Any] = {"model": {"backbone": "test_efficientnet", "backbone_args": {}}}


def params(*overlays: dict[str, Any], base: dict[str, Any] = TREE) -> Params:
    """The params of a small job, with `overlays` (nested, as in params.yaml) over them."""
    tree: dict[str, Any] = json.loads(json.dumps(base))
    for overlay in overlays:
        merge(tree, overlay)
    return validate(tree)


def prepare(folder: Path, chosen: Params) -> RunPaths:
    """Runs the data stage of `chosen` into `folder`, with a cache of its own."""
    from medtune.stages import data

    paths = RunPaths(folder, folder / "cache")
    data.run(chosen, paths)
    return paths


def train(chosen: Params, paths: RunPaths) -> None:
    """Runs every step that is not there yet, as `medtune train --no-prefect` does."""
    from medtune.flows import pipeline
    from medtune.stages.steps import Steps

    pipeline.run_directly(Steps(chosen, paths))
