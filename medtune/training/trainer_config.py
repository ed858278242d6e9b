"""One training run: what it trains on, and where it stands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from medtune.config.training import TrainingParams
from medtune.tasks.base import Objective
from medtune.training.inputs import BatchSource

SCORE_BATCH_SIZE = 64


@dataclass
class TrainerConfig:
    """One training run.

    Attributes:
        name: for progress lines.
        network: maps what `source` gives to the task's output; its parameters with requires_grad are trained.
        saved: the part of `network` whose state is kept (the head, or everything).
        set_modes: puts every module of `network` in the mode it trains in.
        source: inputs of rows.
        targets: (n, ...) of the whole prepared set.
        objective: the task's loss and validation scores.
        train, val: rows; without validation rows the last epoch is kept.
        params: epochs, batch size, ...; the learning rate is in `lr`.
        lr: learning rate.
        head_lr: highest learning rate of the head, if that is lower; None: `lr`.
        seed: of every stream of random numbers.
        key: a checkpoint of another key is ignored.
        checkpoint_dir: folder for the checkpoint.
        signs: 1 or -1 by metric that `monitor` may name, -1 where lower is better.
        start: network that training starts from, scored first as epoch 0, a candidate for the best.
        penalty: gives a term () that is added to the loss of every step.
        after_step: told (steps done, steps in all) after every optimizer step, before its gradients go.
        compile: training steps run `network` through torch.compile; scoring and what is kept do not.
        decay_vectors: as for `build_optimizer`.
        score_batch_size: validation rows at once.
        last_epoch: where training stops, if not after `params.epochs`, for which the learning rate is scheduled.
        on_step, on_epoch: told (step, values).
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
    """Where a run stands; everything but tensors that a checkpoint holds.

    Attributes:
        validation_outputs: (n, ...) of the validation images by weights that never saw them, where the weights that
            are kept were trained on them; None: the kept weights never saw them.
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
        """Row of the history of the best epoch."""
        return next(row for row in self.history if row["epoch"] == self.best_epoch)
