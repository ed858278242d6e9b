"""Params of a small segmentation and its prepared volumes."""

from pathlib import Path
from typing import Any

from medtune.config.load import validate
from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset, load_prepared
from tests.volume_world import PATCH, write_prepared_volumes


def segmentation_params(backbone: str = "none", **sections: Any) -> Params:
    """Return the params of a phantom of 16 voxels with patches of 16 voxels.

    Args:
        backbone: `model.backbone`.
        **sections: changes of sections.

    Returns:
        The params.
    """
    args = {"img_size": 32, "depth": 4} if backbone == "test_vit" else {}
    training = {"epochs": 2, "batch_size": 2, "lr": 1e-2, "monitor": "dice", "checkpoint_seconds": 0}
    tree: dict[str, Any] = {
        "schedule": "staged",
        "task": {"kind": "segmentation"},
        "data": {"source": "phantom", "patients": 9, "size": 16, "split": {"folds": 3, "test_fold": 0}},
        "model": {
            "backbone": backbone,
            "weights": "none",
            "backbone_args": args,
            "head": {"kind": "decoder"},
            "peft": {"method": "none"},
        },
        "frozen": {**training, "feature_views": 3, "ema_decay": None},
        "finetune": training,
        "gate": {"metric": "dice"},
        "tracking": {"mode": "disabled"},
    }
    for name, changes in sections.items():
        tree[name] = {**tree[name], **changes} if isinstance(changes, dict) else changes
    return validate(tree)


def write(folder: Path, params: Params, key: str = "test", patch: tuple[int, int, int] = PATCH) -> PreparedDataset:
    """Write the prepared volumes to folder/data/prepared and load them."""
    write_prepared_volumes(folder / "data" / "prepared", params, key, patch)
    return load_prepared(folder / "data" / "prepared")
