"""Solved head: selection on validation, and validation outputs of weights not trained on these images."""

import numpy as np
import pytest
import torch

from medtune.config.training import FrozenParams
from medtune.models.classifier import mean_head
from medtune.tasks.classification.training import CrossEntropy
from medtune.training.feature_store import FeatureShard, FeatureStore
from medtune.training.inputs import FeatureSource
from medtune.training.logistic import FeatureProblem
from medtune.training.solved_head import HeadSolver
from medtune.training.trainer_config import TrainerConfig

CPU = torch.device("cpu")
N, TRAIN, VAL = 60, np.arange(40), np.arange(40, 60)


@pytest.fixture
def store():
    draw = np.random.default_rng(3)
    x = draw.normal(size=(N, 1, 5)) + (np.arange(N) % 2)[:, None, None]
    return FeatureStore(N, [[FeatureShard(np.arange(N), x.astype(np.float16))]])


@pytest.fixture
def config(store, tmp_path):
    head = mean_head(5, 2, norm=False)
    return TrainerConfig(
        name="frozen fold 0",
        network=head,
        saved=head,
        set_modes=lambda: None,
        source=FeatureSource(store, CPU),
        targets=np.arange(N) % 2,
        objective=CrossEntropy(),
        train=TRAIN,
        val=VAL,
        params=FrozenParams(),
        lr=1.0,
        seed=0,
        key="k",
        checkpoint_dir=tmp_path,
        signs={"loss": -1, "auroc": 1},
    )


def logits(store, weights, rows):
    weight, bias = weights.values()
    return store.fetch(rows).float()[:, 0] @ weight.T + bias


def test_head_solver__without_refit_excludes_the_validation_images(store, config):
    state, weights = HeadSolver(store, [1.0], False, CPU)(config)
    expected = FeatureProblem(store, TRAIN, config.targets, config.objective, 2, CPU).solve(1.0)
    assert torch.allclose(logits(store, weights, VAL), logits(store, expected.state_dict("wb"), VAL), atol=1e-5)
    assert state.validation_outputs is None
    assert state.best_epoch == 1
    assert 0 <= state.history[0]["val/auroc"] <= 1


def test_head_solver__refit_uses_all_images_and_returns_outputs_before_it(store, config):
    state, weights = HeadSolver(store, [1.0], True, CPU)(config)
    seen = FeatureProblem(store, np.arange(N), config.targets, config.objective, 2, CPU).solve(1.0)
    unseen = FeatureProblem(store, TRAIN, config.targets, config.objective, 2, CPU).solve(1.0)
    assert torch.allclose(logits(store, weights, VAL), logits(store, seen.state_dict("wb"), VAL), atol=1e-3)
    assert np.allclose(state.validation_outputs, logits(store, unseen.state_dict("wb"), VAL), atol=1e-5)
    assert not np.allclose(state.validation_outputs, logits(store, weights, VAL), atol=1e-2)


def test_head_solver__selects_the_candidate_with_the_lowest_validation_loss(store, config):
    config.params = FrozenParams(monitor="loss")
    losses = {}
    for strength in (1e-4, 0.1, 1e5):
        state, _ = HeadSolver(store, [strength], False, CPU)(config)
        losses[strength] = state.history[0]["val/loss"]
    solver = HeadSolver(store, list(losses), False, CPU)
    state, _ = solver(config)
    assert losses[solver.strength] == min(losses.values())
    assert state.history[0]["val/loss"] == pytest.approx(min(losses.values()), abs=1e-4)


def test_head_solver__without_validation_images_has_no_scores(store, config):
    config.train, config.val = np.arange(N), np.arange(0)
    solver = HeadSolver(store, [1.0], True, CPU)
    state, weights = solver(config)
    expected = FeatureProblem(store, np.arange(N), config.targets, config.objective, 2, CPU).solve(1.0)
    assert torch.allclose(logits(store, weights, VAL), logits(store, expected.state_dict("wb"), VAL), atol=1e-5)
    assert (solver.strength, state.validation_outputs) == (1.0, None)
    assert set(state.history[0]) == {"epoch", "step", "lr", "train/loss"}
