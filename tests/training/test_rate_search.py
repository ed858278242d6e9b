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


class Rows:
    def train(self, rows, generator, take):
        return X[rows[take]], Geometry()

    def score(self, rows):
        return X[rows]


def runner(**changes):
    """Create the `configure` function of a search whose candidates share one network."""
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    params = TrainingParams(**{"epochs": 3, "batch_size": 10, "monitor": "loss", "checkpoint_seconds": 0, **changes})

    def configure(number, rate, folder):
        return TrainerConfig(
            name=f"rate {number}", network=network, saved=network, set_modes=network.train, source=Rows(), targets=Y,
            objective=CrossEntropy(), train=np.arange(30), val=np.arange(30, 40), params=params, lr=rate, seed=1,
            key="key", checkpoint_dir=folder,
        )  # fmt: skip

    return configure


def search(folder, rates=RATES, configure=None):
    folder.mkdir(exist_ok=True)
    return rate_search.search(rates, configure or runner(), folder, "key", "cpu", "frozen.lr")


def alone(folder, rate):
    return search(folder, (rate,))


def test_search__selects_by_validation_and_equals_a_run_at_that_rate(tmp_path):
    found = search(tmp_path / "both")
    single = {rate: alone(tmp_path / str(rate), rate) for rate in RATES}
    best = min(RATES, key=lambda rate: single[rate].state.best_row["val/loss"])
    assert found.lr == best
    assert found.state.history == single[best].state.history
    assert all(torch.equal(found.weights[name], value) for name, value in single[best].weights.items())
    assert [trial.lr for trial in found.trials] == list(RATES)
    for trial in found.trials:
        assert trial.as_dict()["validation"]["loss"] == single[trial.lr].state.best_row["val/loss"]
        assert trial.as_dict()["epoch"] == single[trial.lr].state.best_epoch


def test_search__excludes_a_diverged_rate(tmp_path):
    loose = runner(clip_norm=None, ema_decay=None)
    found = search(tmp_path, (1e-3, 1e38), loose)
    assert found.lr == 1e-3
    assert "the loss is" in found.trials[1].as_dict()["failure"]
    with pytest.raises(DivergedError, match=r"frozen\.lr=1e\+37, 1e\+38: .*Set frozen\.lr below 1e\+37"):
        search(tmp_path / "all", (1e37, 1e38), loose)
    with pytest.raises(DivergedError, match=r"frozen\.lr=1e\+38"):
        search(tmp_path / "one", (1e38,), loose)


@pytest.mark.parametrize("cut", [1, 2, 4, 6])
def test_search__resumes_without_repeating_candidates(tmp_path, monkeypatch, cut):
    whole = search(tmp_path / "whole")
    epoch, done = loop.Trainer._epoch, []

    def counted(self):
        if len(done) == cut:
            raise KeyboardInterrupt
        row = epoch(self)
        done.append(self.config.lr)
        return row

    monkeypatch.setattr(loop.Trainer, "_epoch", counted)
    if cut < 6:
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path / "cut")
        monkeypatch.setattr(loop.Trainer, "_epoch", lambda self: done.append(self.config.lr) or epoch(self))
    found = search(tmp_path / "cut")
    assert done == [RATES[0]] * 3 + [RATES[1]] * 3
    assert (found.lr, found.state.history) == (whole.lr, whole.state.history)
    assert all(torch.equal(found.weights[name], value) for name, value in whole.weights.items())
    # Repeat, as after a kill between the last candidate and the publication of the result.
    assert search(tmp_path / "cut").lr == whole.lr
    assert len(done) == 6


def test_search__ignores_records_with_another_key(tmp_path):
    search(tmp_path)
    records = list(tmp_path.rglob(rate_search.RECORD_FILE))
    assert len(records) == 2
    configure = runner()
    found = rate_search.search(RATES, configure, tmp_path, "other", "cpu", "frozen.lr")
    assert found.state.history == search(tmp_path / "again").state.history


def test_search__has_a_single_trainer_in_memory(tmp_path, monkeypatch):
    alive = weakref.WeakSet()
    begin, most = loop.Trainer.run, []

    def run(self):
        alive.add(self.optimizer)
        gc.collect()
        most.append(len(alive))
        return begin(self)

    monkeypatch.setattr(loop.Trainer, "run", run)
    search(tmp_path, (1e-3, 1e-2, 1e-1))
    assert most == [1, 1, 1]
    stored = [path.stat().st_size for path in tmp_path.rglob(rate_search.RECORD_FILE)]
    assert sum(size > 2 * min(stored) - 1000 and size == max(stored) for size in stored) == 1
