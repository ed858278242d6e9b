"""Training run of a head that L-BFGS solves: selection of C on validation, then an optional solution on all images."""

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from medtune.runtime.console import info
from medtune.training.feature_store import FeatureStore
from medtune.training.inputs import FeatureSource
from medtune.training.logistic import FeatureProblem
from medtune.training.loop import WORST
from medtune.training.trainer_config import TrainerConfig, TrainingState


class HeadSolver:
    """Solver of a head that is linear in stored features, for `StageSpec.solve`.

    Attributes:
        strength: value of C that was selected on validation; None before the head is solved.
    """

    def __init__(self, store: FeatureStore, candidates: Sequence[float], refit: bool, device: torch.device) -> None:
        """Store the settings that do not depend on the training run.

        Args:
            store: features (n, 1, D) of the training images in all views and the validation images in view 0. With
                `refit`, it has both in all views.
            candidates: values of C, of which validation selects one.
            refit: True to solve the final head on training and validation images. The outputs for the validation images
                still come from the head that was solved on the training images.
            device: torch device of the loss.
        """
        self.store, self.candidates, self.refit, self.device = store, candidates, refit, device
        self.strength: float | None = None

    def __call__(self, config: TrainerConfig) -> tuple[TrainingState, dict[str, Tensor]]:
        """Solve the head.

        Args:
            config: the run. Without validation images, there must be a single candidate, and there are no scores.

        Returns:
            State with one row of history, and the weights of the head, as from `Trainer.run`.
        """
        started, head = time.monotonic(), config.network
        problem = self._problem(config, config.train)
        state, solution = TrainingState(), None
        for strength in self.candidates:
            solution = problem.solve(strength, solution)
            head.load_state_dict(solution.state_dict(list(head.state_dict())))
            outputs, scores, rank = None, {}, (0.0, 0.0)
            if len(config.val):
                outputs = _validation_outputs(config, head, self.device)
                scores = config.objective.score(outputs, torch.from_numpy(config.targets[config.val]).to(self.device))
                value = config.signs.get(config.params.monitor, 1) * scores[config.params.monitor]
                rank = (WORST if np.isnan(value) else value, -scores["loss"])
            if state.best is None or rank > state.best:
                state.best, best = rank, (solution, outputs)
                self.strength = strength
                row = {"epoch": 1, "step": solution.iterations, "lr": float("nan"), "train/loss": solution.loss}
                state.history = [{**row, **{f"val/{name}": score for name, score in scores.items()}}]
        assert self.strength is not None
        solution, outputs = best
        rows = config.train
        if self.refit and outputs is not None:
            rows = np.union1d(config.train, config.val)
            solution = self._problem(config, rows).solve(self.strength, solution)
            state.validation_outputs = outputs.float().cpu().numpy()
        state.epoch = state.best_epoch = 1
        state.step, state.seconds = solution.iterations, time.monotonic() - started
        row, scored = state.history[0], f"val/{config.params.monitor}"
        score = f", {scored} {row[scored]:.3f}" if scored in row else ""
        iterations = f"{solution.iterations} iterations"
        info(f"{config.name}: solved on {len(rows):,} images, C {self.strength:g}, {iterations}{score}")
        config.on_epoch(state.step, {name: value for name, value in row.items() if not np.isnan(value)})
        return state, solution.state_dict(list(head.state_dict()))

    def _problem(self, config: TrainerConfig, rows: np.ndarray) -> FeatureProblem:
        """Return the training problem on the images `rows`. The bias of the head gives its number of outputs."""
        n_outputs = next(parameter for parameter in config.network.parameters() if parameter.ndim == 1).numel()
        return FeatureProblem(self.store, rows, config.targets, config.objective, n_outputs, self.device)


@torch.inference_mode()
def _validation_outputs(config: TrainerConfig, head: nn.Module, device: torch.device) -> Tensor:
    """Compute the outputs (n, outputs) for the validation images."""
    assert isinstance(config.source, FeatureSource)
    size = config.score_batch_size
    batches = [config.source.score(config.val[start : start + size]) for start in range(0, len(config.val), size)]
    return torch.cat([head(batch.to(device)) for batch in batches]).float()
