"""Configuration and state of a training run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from medtune.config.training import TrainingParams
from medtune.tasks.base import Objective
from medtune.training.inputs import BatchSource

SCORE_BATCH_SIZE = 64  # validation images per batch


@dataclass
class TrainerConfig:
    """Configuration of a training run.

    Attributes:
        name: name in progress lines.
        network: maps the inputs of `source` to the task's output. Its parameters with requires_grad are trained.
        saved: part of `network` whose state is saved (the head, or the complete network).
        set_modes: puts every module of `network` in its training mode.
        source: batch source of the inputs.
        targets: (n, ...) targets of the complete data set.
        objective: loss and validation scores of the task.
        train: indices of training images.
        val: indices of validation images. Without them, the weights of the last epoch are used.
        params: epochs, batch size and other settings, except the learning rate.
        lr: learning rate.
        head_lr: upper bound of the learning rate of the head; None applies no bound.
        seed: seed of all streams of random numbers.
        key: cache key; a checkpoint with another key is ignored.
        checkpoint_dir: folder for the checkpoint.
        signs: sign of each metric that `monitor` may name: 1, or -1 if lower is better.
        start: network before training, scored as epoch 0 and a candidate for the best epoch; None for no epoch 0.
        penalty: computes a scalar that is added to the loss of every step.
        after_step: called with (steps done, total steps) after every optimizer step, before gradients are cleared.
        compile: run training steps, but not scoring, through torch.compile.
        decay_vectors: as for `build_optimizer`.
        score_batch_size: validation images per batch.
        last_epoch: epoch after which training stops, if not `params.epochs`. It does not change the schedule of the
            learning rate.
        on_step: called with (step, values) to log a step.
        on_epoch: called with (step, values) to log an epoch.
    """

    name: str
    network: nn.Module
    saved: nn.Module
    set_modes: Callable[[], None]
    source: BatchSource
    targets: np.ndarray
    objective: Objective
    train: np.ndarray
    val: np.ndarray
    params: TrainingParams
    lr: float
    seed: int
    key: str
    checkpoint_dir: Path
    signs: Mapping[str, int] = field(default_factory=lambda: {"loss": -1})
    start: nn.Module | None = None
    penalty: Callable[[], Tensor] | None = None
    after_step: Callable[[int, int], None] | None = None
    compile: bool = False
    decay_vectors: bool = True
    head_lr: float | None = None
    score_batch_size: int = SCORE_BATCH_SIZE
    last_epoch: int | None = None
    on_step: Callable[[int, dict[str, float]], None] = lambda step, values: None
    on_epoch: Callable[[int, dict[str, float]], None] = lambda step, values: None


@dataclass
class TrainingState:
    """Progress of a training run, the contents of a checkpoint except tensors.

    Attributes:
        epoch: number of finished epochs.
        batch: number of finished optimizer steps of the current epoch.
        step: number of finished optimizer steps of all epochs.
        loss_sum: sum of the losses of the current epoch.
        best: monitored score and negative loss on validation in the best epoch; None before the first epoch.
        best_epoch: number of the best epoch; -1 before the first epoch.
        seconds: duration of training without validation.
        history: training curve, one row per epoch.
        validation_outputs: (n, ...) outputs for the validation images, if the final weights were also trained on these
            images. The outputs come from weights that were trained without them. None in other runs.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best: tuple[float, float] | None = None
    best_epoch: int = -1
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    validation_outputs: np.ndarray | None = None

    @property
    def best_row(self) -> dict[str, float]:
        """History row of the best epoch."""
        return next(row for row in self.history if row["epoch"] == self.best_epoch)
