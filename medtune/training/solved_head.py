"""A training run whose head is solved: candidates compared on validation, then one solution on all labeled images."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from medtune.runtime.console import info
from medtune.training.feature_store import FeatureStore
from medtune.training.inputs import FeatureSource
from medtune.training.logistic import FeatureProblem, LinearSolution
from medtune.training.loop import WORST
from medtune.training.trainer_config import TrainerConfig, TrainingState

Solve = Callable[[TrainerConfig], tuple[TrainingState, dict[str, Tensor]]]


def solver(store: FeatureStore, candidates: Sequence[float], refit: bool, device: torch.device) -> Solve:
    """Return what `StageSpec.solve` asks for.

    Args:
        store: features (n, 1, D) of the training images in all views, of the validation images in view 0.
        candidates: values of C.
        refit: whether the head that is kept is solved on training and validation images together. The outputs for
            the validation images then come from the head that was solved on the training images alone.
        device: where the loss is computed.
    """

    def solve(config: TrainerConfig) -> tuple[TrainingState, dict[str, Tensor]]:
        began = time.monotonic()
        head = config.network
        problem = FeatureProblem(store, config.train, config.targets, config.objective, _outputs(head), device)
        state, best = TrainingState(), None
        solution: LinearSolution | None = None
        for strength in candidates:
            solution = problem.solve(strength, solution)
            head.load_state_dict(solution.state_dict(list(head.state_dict())))
            outputs = _validation_outputs(config, head, device)
            scores = config.objective.score(outputs, torch.from_numpy(config.targets[config.val]).to(device))
            value = config.signs.get(config.params.select_by, 1) * scores[config.params.select_by]
            merit = (WORST if np.isnan(value) else value, -scores["loss"])
            if state.best is None or merit > state.best:
                state.best, best = merit, (strength, solution, outputs)
                row = {"epoch": 1, "step": solution.iterations, "lr": float("nan"), "train/loss": solution.loss}
                state.history = [{**row, **{f"val/{name}": score for name, score in scores.items()}}]
        assert best is not None
        strength, solution, outputs = best
        if refit:
            everything = np.union1d(config.train, config.val)
            whole = FeatureProblem(store, everything, config.targets, config.objective, _outputs(head), device)
            solution = whole.solve(strength, solution)
            state.validation_outputs = outputs.float().cpu().numpy()
        state.epoch = state.best_epoch = 1
        state.step, state.seconds = solution.iterations, time.monotonic() - began
        row = state.history[0]
        scored = f"val/{config.params.select_by}"
        images = f"{len(config.train) + (len(config.val) if refit else 0):,} images"
        steps = f"{solution.iterations} iterations"
        info(f"{config.name}: solved on {images}, C {strength:g}, {steps}, {scored} {row[scored]:.3f}")
        config.on_epoch(state.step, {name: value for name, value in row.items() if not np.isnan(value)})
        return state, solution.state_dict(list(head.state_dict()))

    return solve


@torch.inference_mode()
def _validation_outputs(config: TrainerConfig, head: nn.Module, device: torch.device) -> Tensor:
    """(n, outputs) of the validation images."""
    assert isinstance(config.source, FeatureSource)
    size = config.score_batch_size
    parts = [config.source.score(config.val[start : start + size]) for start in range(0, len(config.val), size)]
    return torch.cat([head(part.to(device)) for part in parts]).float()


def _outputs(head: nn.Module) -> int:
    return next(parameter for parameter in head.parameters() if parameter.ndim == 1).numel()
