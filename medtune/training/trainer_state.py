"""Checkpoints of the complete trainer state, so that a resumed run has the same result as an uninterrupted run."""

import math
import time
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor

from medtune.runtime.console import info
from medtune.training import checkpoint
from medtune.training.trainer_config import TrainerConfig, TrainingState


class ResumableTrainer(Protocol):
    """Attributes of a trainer that its checkpoint contains, implemented by `Trainer` in loop.py."""

    config: TrainerConfig
    accelerator: Accelerator
    device: torch.device
    optimizer: AcceleratedOptimizer
    augment_rng: torch.Generator
    ema: dict[str, Tensor] | None
    best: dict[str, Tensor]
    state: TrainingState
    saved_at: float


def save_trainer(trainer: ResumableTrainer) -> None:
    """Write the checkpoint in the main process; all processes have the same state."""
    if not trainer.accelerator.is_main_process:
        return
    tensors = checkpoint.add_prefix("model", trainer.config.saved.state_dict())
    tensors |= checkpoint.optimizer_tensors(trainer.optimizer.optimizer)
    tensors |= {"rng.torch": torch.get_rng_state(), "rng.augment": trainer.augment_rng.get_state()}
    if trainer.device.type == "cuda":
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    if trainer.ema is not None:
        tensors |= checkpoint.add_prefix("ema", trainer.ema)
    meta: dict[str, Any] = {**state_to_json(trainer.state), "key": trainer.config.key}
    if trainer.accelerator.scaler is not None:
        meta["scaler"] = trainer.accelerator.scaler.state_dict()
    tensors |= checkpoint.add_prefix("best", trainer.best)
    checkpoint.save(trainer.config.checkpoint_dir / checkpoint.CHECKPOINT_FILE, tensors, meta)
    trainer.saved_at = time.monotonic()


def load_trainer(trainer: ResumableTrainer) -> bool:
    """Restore a trainer from the checkpoint of its run.

    Args:
        trainer: changed in place.

    Returns:
        True if there is a valid checkpoint, otherwise False.
    """
    stored = checkpoint.read(trainer.config.checkpoint_dir / checkpoint.CHECKPOINT_FILE, trainer.config.key)
    if stored is None:
        return False
    tensors, meta = stored
    trainer.config.saved.load_state_dict(checkpoint.strip_prefix("model", tensors), strict=True)
    checkpoint.load_optimizer(trainer.optimizer.optimizer, tensors)
    if trainer.ema is not None:
        trainer.ema = {k: v.to(trainer.device) for k, v in checkpoint.strip_prefix("ema", tensors).items()}
    trainer.best = checkpoint.strip_prefix("best", tensors)
    torch.set_rng_state(tensors["rng.torch"])
    trainer.augment_rng.set_state(tensors["rng.augment"])
    if "rng.cuda" in tensors and trainer.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    if trainer.accelerator.scaler is not None and "scaler" in meta:
        trainer.accelerator.scaler.load_state_dict(meta.pop("scaler"))
    trainer.state = state_from_json(meta)
    info(f"{trainer.config.name}: resumed at epoch {trainer.state.epoch + 1}, step {trainer.state.step}")
    return True


def state_to_json(state: TrainingState) -> dict[str, Any]:
    """Return `state` as JSON values, without `validation_outputs`."""
    # Rows are lists of pairs, because writing sorts the keys of objects. The pairs have the order of the columns.
    history = [[(k, None if math.isnan(v) else v) for k, v in row.items()] for row in state.history]
    return {name: value for name, value in vars(state).items() if name != "validation_outputs"} | {"history": history}


def state_from_json(values: dict[str, Any]) -> TrainingState:
    """Restore the state from the values of `state_to_json` and ignore other values."""
    state = TrainingState(**{name: values[name] for name in vars(TrainingState()) if name in values})
    state.best = None if state.best is None else (state.best[0], state.best[1])
    state.history = [{k: math.nan if v is None else v for k, v in row} for row in values["history"]]
    return state
