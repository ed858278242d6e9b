"""Learning-rate search of a training stage: train with every candidate and select the best on validation.

Each candidate is a complete training run from the same initial weights. A finished candidate has a record on disk, with
its state. The record of the best candidate also has its weights. After an interruption, the search reads the records
and does not train these candidates again. The initial weights are on disk too, so memory does not grow with the number
of candidates.
"""

import atexit
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from medtune.config.errors import DivergedError, RunError
from medtune.evaluation.metric import nan_to_none
from medtune.runtime import distributed
from medtune.runtime.console import info
from medtune.training import checkpoint
from medtune.training.loop import Trainer
from medtune.training.trainer_config import TrainerConfig, TrainingState
from medtune.training.trainer_state import state_from_json, state_to_json

START_FILE, RECORD_FILE = "start.safetensors", "trial.safetensors"
# Called with the candidate's number from 0, its rate and its folder. The network of the returned configuration may
# still have the weights of an earlier candidate.
Configure = Callable[[int, float, Path], TrainerConfig]


@dataclass(frozen=True)
class Trial:
    """Candidate of a learning-rate search.

    Attributes:
        lr: learning rate.
        state: final state; None if the loss was not finite.
        failure: message of a failed run, otherwise empty.
    """

    lr: float
    state: TrainingState | None
    failure: str = ""

    @property
    def score(self) -> tuple[float, float] | None:
        """Best validation score and negative loss, for comparison of candidates; None if training diverged."""
        return self.state.best if self.state else None

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of the candidate in result.json."""
        if self.state is None:
            return {"lr": self.lr, "failure": self.failure}
        best = self.state.best_row
        validation = {k.removeprefix("val/"): nan_to_none(v) for k, v in best.items() if k.startswith("val/")}
        return {
            "lr": self.lr,
            "epoch": self.state.best_epoch,
            "seconds": round(self.state.seconds, 1),
            "validation": validation,
        }


@dataclass(frozen=True)
class SearchResult:
    """Result of a learning-rate search.

    Attributes:
        trials: all candidates by ascending rate; empty for a head that is solved directly
            (`medtune.training.solved_head`).
        lr: selected rate; None for a solved head.
        state: final state of the selected candidate.
        weights: weights of the best epoch of this candidate.
    """

    trials: list[Trial]
    lr: float | None
    state: TrainingState
    weights: dict[str, Tensor]

    @classmethod
    def of_one(cls, lr: float, state: TrainingState, weights: dict[str, Tensor]) -> "SearchResult":
        """Create a result with a single candidate."""
        return cls([Trial(lr, state)], lr, state, weights)


def search(
    rates: Sequence[float], configure: Configure, folder: Path, key: str, device: str, label: str
) -> SearchResult:
    """Train with every learning rate and select the best validation score. The lower loss breaks ties.

    Args:
        rates: candidates, ascending. A single candidate is trained in `folder` itself.
        configure: creates the run of a candidate.
        folder: folder for the checkpoints and records of the candidates.
        key: cache key of the stage; records with another key are ignored.
        device: torch device.
        label: params key of the rate, for messages.

    Returns:
        The selected candidate and all trials.

    Raises:
        DivergedError: the loss is not finite at any rate.
        RunError: the initial weights or the record of the selected candidate are damaged.
    """
    if len(rates) == 1:
        try:
            state, weights = _train(configure(0, rates[0], folder), device)
        except DivergedError as error:
            raise DivergedError(_all_diverged(rates, str(error), label)) from error
        return SearchResult.of_one(rates[0], state, weights)
    trials: list[Trial] = []
    best: Trial | None = None
    for number, rate in enumerate(rates):
        config = configure(number, rate, folder / f"lr-{rate!r}")
        if number == 0 and distributed.rank() == 0:
            checkpoint.save(folder / START_FILE, config.saved.state_dict(), {"key": key})
        trial = _read(config, rate, key) or _run(config, rate, key, device, folder / START_FILE)
        trials.append(trial)
        if trial.score is None:
            info(f"{trial.failure}; this learning rate is excluded")
        elif best is None or best.score is None or trial.score > best.score:
            _drop_weights(best, folder, key)
            best = trial
        else:
            _drop_weights(trial, folder, key)
    if best is None or best.state is None:
        raise DivergedError(_all_diverged(rates, trials[0].failure, label))
    stored = checkpoint.read(_record(folder, best.lr), key)
    if stored is None:
        if distributed.rank() > 0:  # only the main process publishes
            return SearchResult(trials, best.lr, best.state, {})
        raise RunError(f"{_record(folder, best.lr)}: the file is damaged. Delete its folder and run again")
    return SearchResult(trials, best.lr, best.state, stored[0])


def _train(config: TrainerConfig, device: str) -> tuple[TrainingState, dict[str, Tensor]]:
    """Train a candidate; return its state and the weights of its best epoch."""
    trainer = Trainer(config, device)
    try:
        return trainer.run()
    finally:
        # The next candidate prepares the same network again, so the wrapper of Accelerate is removed.
        trainer.accelerator.unwrap_model(trainer.network, keep_fp32_wrapper=False)


def _run(config: TrainerConfig, rate: float, key: str, device: str, start: Path) -> Trial:
    """Train a candidate from the initial weights, or resume it, and write its record."""
    config.checkpoint_dir.mkdir(parents=True, exist_ok=True)
    if distributed.rank() == 0:  # the other processes receive the weights when training begins
        initial = checkpoint.read(start, key)
        if initial is None:
            raise RunError(f"{start}: the file is damaged. Run again")
        config.saved.load_state_dict(initial[0], strict=True)
        del initial
    weights: dict[str, Tensor] = {}
    try:
        state, weights = _train(config, device)
        trial = Trial(rate, state)
    except DivergedError as error:
        trial = Trial(rate, None, str(error))
    gc.collect()  # frees the optimizer of the finished run
    _freeze_imported_objects()
    if distributed.rank() == 0:
        _write(config.checkpoint_dir / RECORD_FILE, trial, weights, key)
        (config.checkpoint_dir / checkpoint.CHECKPOINT_FILE).unlink(missing_ok=True)
    return trial


@cache
def _freeze_imported_objects() -> None:
    """Exclude the objects that exist now from garbage collection. Otherwise each collection takes 0.2 s."""
    gc.freeze()
    atexit.register(gc.unfreeze)  # otherwise nanobind reports its objects as leaked


def _record(folder: Path, rate: float) -> Path:
    """Return the path of a candidate's record."""
    return folder / f"lr-{rate!r}" / RECORD_FILE


def _read(config: TrainerConfig, rate: float, key: str) -> Trial | None:
    """Read a candidate from its record; None if there is no valid record with this key."""
    stored = checkpoint.read(config.checkpoint_dir / RECORD_FILE, key)
    if stored is None:
        return None
    state = stored[1]["state"]
    info(f"{config.name}: finished in an earlier run")
    return Trial(rate, None if state is None else state_from_json(state), stored[1]["failure"])


def _write(path: Path, trial: Trial, weights: dict[str, Tensor], key: str) -> None:
    """Write the record of a candidate."""
    state = None if trial.state is None else state_to_json(trial.state)
    checkpoint.save(path, weights, {"key": key, "state": state, "failure": trial.failure})


def _drop_weights(trial: Trial | None, folder: Path, key: str) -> None:
    """Remove the weights from the record of a candidate that is not the best."""
    if trial is not None and distributed.rank() == 0:
        _write(_record(folder, trial.lr), trial, {}, key)


def _all_diverged(rates: Sequence[float], failure: str, label: str) -> str:
    """Return the message for a search in which every candidate diverged; `failure` is that of the first."""
    shown = ", ".join(f"{rate:g}" for rate in rates)
    stage = label.partition(".")[0]
    if len(rates) == 1:
        failure = failure.removesuffix(f" with lr {shown}")  # `label` states it
    return f"{label}={shown}: {failure}. Set {label} below {min(rates):g}, or {stage}.precision=fp32"
