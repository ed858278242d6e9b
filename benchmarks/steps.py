"""A given number of fine-tuning steps with the training loop of stage 2."""

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
    feed: BatchSource,
    prepared: PreparedDataset,
    params: Params,
    steps: int,
    work: Path,
    on_step: Callable[[int, dict[str, float]], None] = lambda step, values: None,
    device: str = "cpu",
    compiled: bool = False,
) -> TrainingState:
    """Train for `steps` steps in one epoch, without checkpoints and with almost no validation.

    Args:
        model: network; all parameters are trained.
        feed: source of training batches.
        prepared: prepared data set.
        params: batch size, optimizer and other settings.
        steps: number of steps.
        work: folder for checkpoints; none are written.
        on_step: callback with (step, values), as for W&B.
        device: training device of `model` and `feed`.
        compiled: use torch.compile.

    Returns:
        The final training state, which contains the seconds.
    """
    settings = params.finetune.model_copy(update={"epochs": 1, "repeats_per_epoch": 1, "checkpoint_seconds": 1e9})
    parts = prepared.indices(params.data.split.test_folds[0])

    def set_modes() -> None:
        model.train()

    job = TrainerConfig(
        name=f"{steps} steps",
        network=model,
        saved=model,
        set_modes=set_modes,
        source=feed,
        targets=prepared.labels,
        train=np.resize(parts["train"], steps * settings.batch_size),
        val=parts["val"][:2],
        objective=CrossEntropy(),
        params=settings,
        lr=params.learning_rates("finetune")[0],
        seed=params.seed,
        key="",
        checkpoint_dir=work,
        compile=compiled,
        on_step=on_step,
    )
    return Trainer(job, device).run()[0]
