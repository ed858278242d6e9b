"""Inputs of a training stage that a task may replace: batch source, network of the loop, and scoring."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
from torch import Tensor, nn

from medtune.training.inputs import BatchSource
from medtune.training.trainer_config import SCORE_BATCH_SIZE

# Maps rows and a seed to batches of inputs and targets.
Labeled = Callable[[npt.NDArray[Any], int], Iterator[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class StageInputs:
    """Batch source, network and scoring of the training loop of a stage.

    The part `training` of a task may define two functions that return `StageInputs`. The stages then call these
    functions instead of their own:

        frozen_inputs(model, prepared, params, cache, fold, device)
        finetune_inputs(model, prepared, params, device)

    `model` is the network on `device`, `cache` the folder of cached features, and `device` a `torch.device`.

    Attributes:
        source: batch source of the inputs.
        wrap: returns the network that maps these inputs to the task's output, for a network from the task's `build`.
        stored: True if the inputs are stored features of the frozen backbone.
        score_batch_size: validation images per batch.
        labeled: iterates once over inputs without augmentation and their targets, in random order, for the function
            `prepare` of PEFT methods. None in stage 1.
    """

    source: BatchSource
    wrap: Callable[[Any], nn.Module]
    stored: bool = False
    score_batch_size: int = SCORE_BATCH_SIZE
    labeled: Labeled | None = None
