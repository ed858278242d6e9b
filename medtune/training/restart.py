"""A trainer's whole state to its checkpoint and back: a cut run ends where the uncut one does."""

import math
import time
from typing import TYPE_CHECKING, Any

import torch

from medtune.runtime.console import info
from medtune.training import checkpoint
from medtune.training.job import Progress

if TYPE_CHECKING:
    from medtune.training.loop import Trainer


def save(trainer: "Trainer") -> None:
    """Writes the checkpoint; of several processes the first does, for their states are one."""
    if not trainer.accelerator.is_main_process:
        return
    tensors = checkpoint.prefixed("model", trainer.job.saved.state_dict())
    tensors |= checkpoint.optimizer_tensors(trainer.optimizer.optimizer)
    tensors |= {"rng.torch": torch.get_rng_state(), "rng.augment": trainer.noise.get_state()}
    if trainer.device.type == "cuda":
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    if trainer.ema is not None:
        tensors |= checkpoint.prefixed("ema", trainer.ema)
    meta: dict[str, Any] = {**vars(trainer.at), "key": trainer.job.key}
    # Pairs, since a JSON object is written with its names sorted, and their order is that of history.csv's columns.
    meta["history"] = [[(k, None if math.isnan(v) else v) for k, v in row.items()] for row in trainer.at.history]
    if trainer.accelerator.scaler is not None:
        meta["scaler"] = trainer.accelerator.scaler.state_dict()
    tensors |= checkpoint.prefixed("best", trainer.best)
    checkpoint.save(trainer.job.work / checkpoint.FILE, tensors, meta)
    trainer.saved_at = time.monotonic()


def resume(trainer: "Trainer") -> bool:
    """Whether there was a checkpoint of this run; `trainer` then stands where it was written."""
    found = checkpoint.read(trainer.job.work / checkpoint.FILE, trainer.job.key)
    if found is None:
        return False
    tensors, meta = found
    trainer.job.saved.load_state_dict(checkpoint.under("model", tensors), strict=True)
    checkpoint.load_optimizer(trainer.optimizer.optimizer, tensors)
    if trainer.ema is not None:
        trainer.ema = {k: v.to(trainer.device) for k, v in checkpoint.under("ema", tensors).items()}
    trainer.best = checkpoint.under("best", tensors)
    torch.set_rng_state(tensors["rng.torch"])
    trainer.noise.set_state(tensors["rng.augment"])
    if "rng.cuda" in tensors and trainer.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    if trainer.accelerator.scaler is not None and "scaler" in meta:
        trainer.accelerator.scaler.load_state_dict(meta.pop("scaler"))
    meta["best"] = None if meta["best"] is None else tuple(meta["best"])
    meta["history"] = [{k: math.nan if v is None else v for k, v in row} for row in meta["history"]]
    trainer.at = Progress(**{name: meta[name] for name in vars(trainer.at)})
    info(f"{trainer.job.name}: resumed at epoch {trainer.at.epoch + 1}, step {trainer.at.step}")
    return True
