"""History of a small segmentation training with patches, and with stored windows.

`python -m tests.tasks.segmentation.curves FOLDER` prints both as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medtune.data.manifest import load_prepared
from medtune.runtime import distributed
from medtune.tasks.segmentation import training
from medtune.training.loop import Trainer
from medtune.training.trainer_config import TrainerConfig
from tests.tasks.segmentation.prepared_volumes import segmentation_params


def histories(folder: Path) -> dict[str, Any]:
    """Train on the prepared volumes in `folder`; five patches leave one in the last batch of two."""
    params = segmentation_params("test_vit", task={"foreground_share": 0.5, "augment": {"intensity_probability": 0.5}})
    device = torch.device("cpu")
    prepared = load_prepared(folder / "data" / "prepared")
    found = {}
    for stage in ("frozen", "finetune"):
        model = training.build(params, training.layout(prepared))
        if stage == "frozen":
            model.backbone.requires_grad_(False)
            inputs = training.frozen_inputs(model, prepared, params, folder / "cache", 0, device)
        else:
            inputs = training.finetune_inputs(model, prepared, params, device)
        config = TrainerConfig(
            name=stage,
            network=inputs.wrap(model),
            saved=model.head if stage == "frozen" else model,
            set_modes=model.eval,
            source=inputs.source,
            targets=prepared.targets,
            objective=training.objective(params, params.frozen, prepared, np.arange(5)),
            train=prepared.indices(0)["train"].repeat(2)[:5],
            val=prepared.indices(0)["val"],
            params=getattr(params, stage),
            lr=1e-3,
            seed=1,
            key="key",
            checkpoint_dir=folder / f"{stage}-{distributed.world_size()}",
            signs={"dice": 1},
            score_batch_size=inputs.score_batch_size,
        )
        found[stage] = Trainer(config, "cpu").run()[0].history
    return found


if __name__ == "__main__":
    with distributed.process_group():
        print("HISTORIES " + json.dumps(histories(Path(sys.argv[1]))), flush=True)
