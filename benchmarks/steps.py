"""Fine-tuning for a fixed number of steps with the training loop of stage 2."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.models.classifier import Classifier
from medtune.tasks.classification.training import CrossEntropy
from medtune.training.inputs import BatchSource
from medtune.training.loop import Trainer
from medtune.training.trainer_config import TrainerConfig, TrainingState


def finetune(
    model: Classifier,
    source: BatchSource,
    prepared: PreparedDataset,
    params: Params,
    steps: int,
    checkpoint_dir: Path,
    on_step: Callable[[int, dict[str, float]], None] = lambda step, values: None,
    device: str = "cpu",
    compile_network: bool = False,
) -> TrainingState:
    """Train for `steps` steps in one epoch, without checkpoints and with a validation on two images.

    Args:
        model: network; all parameters are trained.
        source: source of training batches.
        prepared: prepared data set.
        params: batch size, optimizer and other settings.
        steps: number of steps.
        checkpoint_dir: folder for checkpoints; none are written.
        on_step: callback with (step, values), as for W&B.
        device: training device of `model` and `source`.
        compile_network: use torch.compile.

    Returns:
        The final training state, which contains the seconds.
    """
    settings = params.finetune.model_copy(update={"epochs": 1, "repeats_per_epoch": 1, "checkpoint_seconds": 1e9})
    splits = prepared.indices(params.data.split.test_folds[0])

    def set_modes() -> None:
        model.train()

    config = TrainerConfig(
        name=f"{steps} steps",
        network=model,
        saved=model,
        set_modes=set_modes,
        source=source,
        targets=prepared.labels,
        train=np.resize(splits["train"], steps * settings.batch_size),
        val=splits["val"][:2],
        objective=CrossEntropy(),
        params=settings,
        lr=params.learning_rates("finetune")[0],
        seed=params.seed,
        key="",
        checkpoint_dir=checkpoint_dir,
        compile=compile_network,
        on_step=on_step,
    )
    return Trainer(config, device).run()[0]
