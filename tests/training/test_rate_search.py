"""Learning-rate search: selection, records and resume."""

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from medtune.config.errors import DivergedError
from medtune.config.training import TrainingParams
from medtune.tasks.classification.training import CrossEntropy
from medtune.training import loop, rate_search
from medtune.training.augmentation import Geometry
from medtune.training.trainer_config import TrainerConfig

RATES = (1e-3, 1e-1)
X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long().numpy()


class RowSource:
    def train(self, rows, generator, take):
        return X[rows[take]], Geometry()

    def score(self, rows):
        return X[rows]


def make_configure(**changes):
    """Create the `configure` function of a search whose candidates share one network."""
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    params = TrainingParams(**{"epochs": 3, "batch_size": 10, "monitor": "loss", "checkpoint_seconds": 0, **changes})

    def configure(number, rate, folder):
        return TrainerConfig(
            name=f"rate {number}", network=network, saved=network, set_modes=network.train, source=RowSource(),
            targets=Y, objective=CrossEntropy(), train=np.arange(30), val=np.arange(30, 40), params=params, lr=rate,
            seed=1, key="key", checkpoint_dir=folder,
        )  # fmt: skip

    return configure


def search(folder, rates=RATES, configure=None):
    folder.mkdir(exist_ok=True)
    return rate_search.search(rates, configure or make_configure(), folder, "key", "cpu", "frozen.lr")


def test_search__selects_by_validation_and_equals_a_run_at_that_rate(tmp_path):
    result = search(tmp_path / "both")
    single = {rate: search(tmp_path / str(rate), (rate,)) for rate in RATES}
    best = min(RATES, key=lambda rate: single[rate].state.best_row["val/loss"])
    assert result.lr == best
    assert result.state.history == single[best].state.history
    assert all(torch.equal(result.weights[name], value) for name, value in single[best].weights.items())
    assert [trial.lr for trial in result.trials] == list(RATES)
    for trial in result.trials:
        assert trial.as_dict()["validation"]["loss"] == single[trial.lr].state.best_row["val/loss"]
        assert trial.as_dict()["epoch"] == single[trial.lr].state.best_epoch


def test_search__excludes_a_diverged_rate(tmp_path):
    unstable = make_configure(clip_norm=None, ema_decay=None)
    result = search(tmp_path, (1e-3, 1e38), unstable)
    assert result.lr == 1e-3
    assert "the loss is" in result.trials[1].as_dict()["failure"]
    with pytest.raises(DivergedError, match=r"frozen\.lr=1e\+37, 1e\+38: .*Set frozen\.lr below 1e\+37"):
        search(tmp_path / "all", (1e37, 1e38), unstable)
    with pytest.raises(DivergedError, match=r"frozen\.lr=1e\+38: .*, step \d+\. Set frozen\.lr below 1e\+38"):
        search(tmp_path / "one", (1e38,), unstable)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return search(tmp_path_factory.mktemp("search") / "uninterrupted")


@pytest.mark.parametrize("interrupt_after", [1, 2, 4, 6])
def test_search__resumes_without_repeating_candidates(tmp_path, monkeypatch, uninterrupted, interrupt_after):
    epoch, rates = loop.Trainer._epoch, []

    def interrupted_epoch(self):
        if len(rates) == interrupt_after:
            raise KeyboardInterrupt
        row = epoch(self)
        rates.append(self.config.lr)
        return row

    monkeypatch.setattr(loop.Trainer, "_epoch", interrupted_epoch)
    if interrupt_after < 6:
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path / "interrupted")
        monkeypatch.setattr(loop.Trainer, "_epoch", lambda self: rates.append(self.config.lr) or epoch(self))
    result = search(tmp_path / "interrupted")
    assert rates == [RATES[0]] * 3 + [RATES[1]] * 3
    assert (result.lr, result.state.history) == (uninterrupted.lr, uninterrupted.state.history)
    assert all(torch.equal(result.weights[name], value) for name, value in uninterrupted.weights.items())
    # As after a kill between the last candidate and the publication of the result.
    assert search(tmp_path / "interrupted").lr == uninterrupted.lr
    assert len(rates) == 6


def test_search__ignores_records_with_another_key(tmp_path, uninterrupted):
    search(tmp_path)
    records = list(tmp_path.rglob(rate_search.RECORD_FILE))
    assert len(records) == 2
    configure = make_configure()
    result = rate_search.search(RATES, configure, tmp_path, "other", "cpu", "frozen.lr")
    assert result.state.history == uninterrupted.state.history


def test_search__keeps_a_single_trainer_in_memory(tmp_path, monkeypatch):
    alive = weakref.WeakSet()
    run_trainer, counts = loop.Trainer.run, []

    def run(self):
        alive.add(self.optimizer)
        gc.collect()
        counts.append(len(alive))
        return run_trainer(self)

    monkeypatch.setattr(loop.Trainer, "run", run)
    search(tmp_path, (1e-3, 1e-2, 1e-1))
    assert counts == [1, 1, 1]
    stored = [path.stat().st_size for path in tmp_path.rglob(rate_search.RECORD_FILE)]
    assert sum(size > 2 * min(stored) - 1000 and size == max(stored) for size in stored) == 1
