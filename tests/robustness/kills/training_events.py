"""Events of training: the start, every step, every checkpoint and the final state."""

import hashlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tests.robustness.kills.forked import Event, Report

if TYPE_CHECKING:
    from torch import Tensor

    from medtune.training.loop import Trainer

# Stage, number of finished steps, and `start` or `end` of the training, or `before` or `after` a step.
Interruption = tuple[str, int, str]


def report_training(report: Report, interruption: Interruption | None = None) -> None:
    """Make every trainer of this process report its events, and kill the process at `interruption`."""
    from medtune.training import trainer_state
    from medtune.training.loop import Trainer

    load, save, step, run = trainer_state.load_trainer, trainer_state.save_trainer, Trainer._step, Trainer.run

    def kill(trainer, moment):
        if interruption == (trainer.config.name.split()[0], trainer.state.step, moment):
            os.kill(os.getpid(), signal.SIGKILL)

    def reported_load(trainer):
        has_resumed, interval = load(trainer), trainer.config.params.checkpoint_seconds
        report("training starts", name=trainer.config.name, step=trainer.state.step, interval=interval)
        kill(trainer, "start")
        return has_resumed

    def reported_save(trainer):
        save(trainer)
        report("saved", name=trainer.config.name, step=trainer.state.step)

    def reported_step(trainer, rows):
        kill(trainer, "before")
        loss = step(trainer, rows)
        report("step", name=trainer.config.name, step=trainer.state.step + 1, rows=rows.tolist(), loss=float(loss))
        kill(trainer, "after")
        return loss

    def reported_run(trainer):
        result = run(trainer)
        kill(trainer, "end")
        report("training ends", name=trainer.config.name, state=_final_state(trainer))
        return result

    trainer_state.load_trainer, trainer_state.save_trainer = reported_load, reported_save
    Trainer._step, Trainer.run = reported_step, reported_run


def _final_state(trainer: "Trainer") -> dict[str, str]:
    import torch

    from medtune.training.checkpoint import optimizer_tensors

    tensors = {
        "weights": trainer.config.network.state_dict(),
        "averaged weights": trainer.ema or {},
        "best weights": trainer.best,
        "optimizer": optimizer_tensors(trainer.optimizer.optimizer),
        "random states": {"torch": torch.get_rng_state(), "augmentation": trainer.augment_rng.get_state()},
    }
    curve = {name: value for name, value in vars(trainer.state).items() if name != "seconds"}
    return {name: _digest(_arrays(values)) for name, values in tensors.items()} | {"curve": _digest(curve)}


def _arrays(tensors: "Mapping[str, Tensor]") -> list[object]:
    arrays = [(name, tensor.detach().cpu().numpy()) for name, tensor in sorted(tensors.items())]
    return [(name, array.dtype, array.shape, array.tobytes()) for name, array in arrays]


def _digest(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()


def lost_steps(history: Sequence[Event], events: Sequence[Event]) -> Iterator[tuple[int, str | None]]:
    """Yield the number of lost steps and the problem, for each training in `events` that was killed in `history`.

    Training must resume at its last checkpoint or later. At most one lost step may end after a checkpoint was due.
    """
    for start in [event for event in events if event["kind"] == "training starts"]:
        run = [event for event in history if event.get("name") == start["name"]]
        if not run:
            continue
        run = run[max(i for i, event in enumerate(run) if event["kind"] == "training starts") :]
        saved = [event for event in run if event["kind"] in ("training starts", "saved")][-1]
        lost = [event for event in run if event["kind"] == "step" and event["step"] > start["step"]]
        n_overdue = sum(event["time"] >= saved["time"] + run[0]["interval"] for event in lost)
        problem = None
        if start["step"] < saved["step"]:
            problem = f"{start['name']} resumed at step {start['step']}, but step {saved['step']} was saved"
        elif n_overdue > 1:
            problem = f"{start['name']} lost {len(lost)} steps, {n_overdue} of them after a checkpoint was due"
        yield len(lost), problem
