"""What training tells, in a child that is watched: where each run begins, every step, every save, its state at the end.

Wraps the trainer from outside; what it computes is not touched.
"""

import hashlib
import os
import signal
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torture.kills.forked import Tell

if TYPE_CHECKING:
    from torch import Tensor

    from medtune.training.loop import Trainer
    from medtune.training.trainer_config import TrainingState
    from medtune.training.trainer_state import ResumableTrainer

# Stage, steps done, moment: the `begin` or the `end` of a run, or `before` or `after` a step.
Cut = tuple[str, int, str]


def tell_training(tell: Tell, cut: Cut | None = None, state: bool = False) -> None:
    """From here on this process tells how its trainers go.

    Events: `trains` (name, step, interval) once a run stands where it begins; `step` (name, step, rows, loss) when
    that many steps are done; `saved` (name, step) when a checkpoint is on disk; `trained` (name, state) at the end.

    Args:
        tell: receives them.
        cut: where this process kills itself, with SIGKILL.
        state: whether `trained` has the digests of everything that a run ends with.
    """
    from medtune.training import trainer_state
    from medtune.training.loop import Trainer

    resume, save, step, run = trainer_state.load_trainer, trainer_state.save_trainer, Trainer._step, Trainer.run

    def fall(trainer: "ResumableTrainer", moment: str) -> None:
        if cut == (trainer.config.name.split()[0], trainer.state.step, moment):
            os.kill(os.getpid(), signal.SIGKILL)

    def resume_told(trainer: "ResumableTrainer") -> bool:
        found = resume(trainer)
        interval = trainer.config.params.checkpoint_seconds
        tell("trains", name=trainer.config.name, step=trainer.state.step, interval=interval)
        fall(trainer, "begin")
        return found

    def save_told(trainer: "ResumableTrainer") -> None:
        save(trainer)
        tell("saved", name=trainer.config.name, step=trainer.state.step)

    def step_told(trainer: "Trainer", rows: Any) -> "Tensor":
        fall(trainer, "before")
        loss = step(trainer, rows)
        shown = {"rows": rows.tolist(), "loss": float(loss).hex()}
        tell("step", name=trainer.config.name, step=trainer.state.step + 1, **shown)
        fall(trainer, "after")
        return loss

    def run_told(trainer: "Trainer") -> "tuple[TrainingState, dict[str, Tensor]]":
        ended = run(trainer)
        fall(trainer, "end")
        tell("trained", name=trainer.config.name, state=digests(trainer) if state else {})
        return ended

    trainer_state.load_trainer, trainer_state.save_trainer = resume_told, save_told
    Trainer._step, Trainer.run = step_told, run_told  # type: ignore[method-assign,assignment]


def digests(trainer: "Trainer") -> dict[str, str]:
    """sha256 of each thing that a run ends with: weights, averages, best weights, optimizer, random streams, record."""
    import torch

    from medtune.training.checkpoint import optimizer_tensors

    at = {name: value for name, value in vars(trainer.state).items() if name != "seconds"}
    return {
        "weights": _digest(trainer.config.network.state_dict()),
        "averaged weights": _digest(trainer.ema or {}),
        "best weights": _digest(trainer.best),
        "optimizer": _digest(optimizer_tensors(trainer.optimizer.optimizer)),
        "torch's random state": _digest({"state": torch.get_rng_state()}),
        "augmentation's random state": _digest({"state": trainer.augment_rng.get_state()}),
        "curve": hashlib.sha256(repr(at).encode()).hexdigest(),
    }


def _digest(tensors: "Mapping[str, Tensor]") -> str:
    import torch

    found = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def steps_of(told: Iterable[dict[str, Any]], name: str) -> dict[int, tuple[list[int], str]]:
    """Rows and loss of every step of one run, by its number; a step that was done twice by how it was done last."""
    return {e["step"]: (e["rows"], e["loss"]) for e in told if e["what"] == "step" and e["name"] == name}
