"""Training loop: bit-exact resume, best epoch, and errors."""

import math
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from medtune.config.training import TrainingParams
from medtune.models.classifier import freeze_batchnorm
from medtune.tasks.classification.training import CrossEntropy
from medtune.training import checkpoint
from medtune.training.augmentation import Geometry
from medtune.training.loop import Trainer
from medtune.training.trainer_config import TrainerConfig

N, FEATURES = 60, 12


class Interrupted(Exception):
    """Simulated interruption of the process."""


class NoisySource:
    """Batch source whose training inputs consume random numbers, as augmentation does."""

    def __init__(self, data):
        self.data = data

    def train(self, rows, generator, take):
        noise = 0.1 * torch.randn(len(rows), *self.data.shape[1:], generator=generator)
        return (self.data[rows] + noise)[take], Geometry()

    def score(self, rows):
        return self.data[rows]


def make_config(tmp_path, network="mlp", interrupt_at=None, **settings):
    """Return the config of a small training, which raises `Interrupted` at an epoch or a step."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, N)
    data = torch.from_numpy(rng.normal(size=(N, FEATURES)).astype(np.float32))
    data[:, 0] += 2 * torch.from_numpy(labels).float()
    torch.manual_seed(5)
    middle = nn.BatchNorm1d(16) if network == "batchnorm" else nn.LayerNorm(16)
    model = nn.Sequential(nn.Linear(FEATURES, 16), middle, nn.Dropout(0.3), nn.Linear(16, 2))
    common = {"epochs": 4, "lr": 1e-2, "batch_size": 8, "ema_decay": None, "checkpoint_seconds": 0}
    params = TrainingParams(**common | settings)

    def on_epoch(step, values):
        if interrupt_at == ("epoch", int(values["epoch"])):
            raise Interrupted

    source = NoisySource(data)
    if interrupt_at and interrupt_at[0] == "step":
        train_batch, steps = source.train, iter(range(10_000))

        def train(rows, generator, take):
            if next(steps) == interrupt_at[1]:
                raise Interrupted
            return train_batch(rows, generator, take)

        source.train = train
    return TrainerConfig(
        name="test",
        network=model,
        saved=model,
        set_modes=lambda: (model.train(), freeze_batchnorm(model))[0] and None,
        source=source,
        targets=labels,
        train=np.arange(0, 44),
        val=np.arange(44, N),
        objective=CrossEntropy(torch.tensor([1.2, 0.8])),
        params=params,
        lr=params.lr,
        seed=11,
        key="key",
        checkpoint_dir=tmp_path,
        on_epoch=on_epoch,
    )


def train(config):
    """Return the trainer state and the best and last weights."""
    state, best = Trainer(config, "cpu").run()
    return state, best, {k: v.clone() for k, v in config.saved.state_dict().items()}


@pytest.fixture(scope="module")
def uninterrupted_runs():
    """Return the results of uninterrupted runs by name of the settings; the first test with the settings adds them."""
    return {}


INTERRUPTS = [("epoch", 1), ("epoch", 3), ("step", 0), ("step", 3), ("step", 9), ("step", 17)]


RESUMED = {
    "plain": {},
    "mid-epoch": {"checkpoint_seconds": 0.005},
    "ema-accumulate": {"ema_decay": 0.9, "gradient_accumulation_steps": 2},
    "adam": {"optimizer": "adam"},
    "passes": {"repeats_per_epoch": 3},
}


@pytest.mark.parametrize("interrupt_at", INTERRUPTS, ids=lambda point: f"{point[0]}{point[1]}")
@pytest.mark.parametrize("name", RESUMED)
def test_resume__ends_bit_identical(tmp_path, uninterrupted_runs, interrupt_at, name):
    settings = RESUMED[name]
    if name not in uninterrupted_runs:
        uninterrupted_runs[name] = train(make_config(tmp_path / "uninterrupted", **settings))
    uninterrupted = uninterrupted_runs[name]
    with pytest.raises(Interrupted):
        train(make_config(tmp_path / "interrupted", interrupt_at=interrupt_at, **settings))
    resumed = train(make_config(tmp_path / "interrupted", **settings))
    assert all(torch.equal(uninterrupted[2][name], value) for name, value in resumed[2].items())
    assert all(torch.equal(uninterrupted[1][name], value) for name, value in resumed[1].items())
    assert uninterrupted[0].history == resumed[0].history


def test_run__returns_the_best_epoch_by_the_monitored_metric(tmp_path):
    state, best, last = train(make_config(tmp_path, epochs=6, lr=0.2, monitor="loss"))
    losses = {row["epoch"]: row["val/loss"] for row in state.history}
    assert state.best_epoch == min(losses, key=losses.get)
    assert state.best_epoch == 6 or any(not torch.equal(best[name], last[name]) for name in best)


def test_run__without_validation_returns_the_last_epoch_of_the_same_schedule(tmp_path):
    seen = make_config(tmp_path / "seen", interrupt_at=("epoch", 3))
    with pytest.raises(Interrupted):
        train(seen)
    unseen = make_config(tmp_path / "unseen", patience=1)
    unseen.val, unseen.last_epoch = np.arange(0), 3
    state, best, last = train(unseen)
    assert (state.epoch, state.best_epoch) == (3, 3)
    assert all(torch.equal(best[name], value) for name, value in seen.saved.state_dict().items())
    assert all(torch.equal(best[name], last[name]) for name in best)
    assert not any(name.startswith("val/") for row in state.history for name in row)


def test_run__stops_when_patience_runs_out(tmp_path):
    state, _, _ = train(make_config(tmp_path, epochs=50, lr=0.5, patience=2))
    assert state.epoch == state.best_epoch + 2 < 50


def test_run__frozen_batchnorm_statistics_do_not_change(tmp_path):
    config = make_config(tmp_path, network="batchnorm")
    before = config.network[1].running_mean.clone()
    train(config)
    assert torch.equal(before, config.network[1].running_mean)


def test_run__repeats_per_epoch_uses_every_image_that_often(tmp_path):
    config = make_config(tmp_path, repeats_per_epoch=3, epochs=1, batch_size=4)
    seen = []
    train_batch = config.source.train
    config.source.train = lambda rows, generator, take: (seen.extend(rows), train_batch(rows, generator, take))[1]
    state, _ = Trainer(config, "cpu").run()
    assert state.step == 33
    assert np.array_equal(np.bincount(seen)[:44], np.full(44, 3))
    assert sorted(seen[:44]) == list(range(44))  # repeats are not interleaved


def test_run__few_images_are_repeated_until_min_steps(tmp_path):
    state, _ = Trainer(make_config(tmp_path, min_steps=40, epochs=2, batch_size=8), "cpu").run()
    assert state.step >= 40  # 44 images alone would be 12 steps
    assert [row["epoch"] for row in state.history] == [1, 2]


def test_run__head_has_a_separate_learning_rate(tmp_path):
    """First step of Adam, which changes every weight by the learning rate."""
    config = make_config(
        tmp_path, epochs=1, batch_size=44, optimizer="adam", weight_decay=0, warmup_epochs=0, clip_norm=None
    )
    config.network.__dict__["head"] = config.network[3]  # without registering a submodule
    config.head_lr, config.lr = 1e-4, 1e-2
    before = {name: p.detach().clone() for name, p in config.network.named_parameters()}
    Trainer(config, "cpu").run()
    moved = {name: (p - before[name]).abs().max().item() for name, p in config.network.named_parameters()}
    assert moved["3.weight"] == pytest.approx(1e-4, rel=1e-2)
    assert moved["0.weight"] == pytest.approx(1e-2, rel=1e-2)


def test_run__accumulation_equals_the_large_batch(tmp_path):
    configs = [
        make_config(tmp_path / str(n), batch_size=n, gradient_accumulation_steps=16 // n, epochs=1) for n in (16, 4)
    ]
    for config in configs:
        config.network[2].p = 0.0
        config.source.train = lambda rows, generator, take, source=config.source: (source.data[rows][take], Geometry())
    large, small = (train(config)[2] for config in configs)
    for name, value in large.items():
        torch.testing.assert_close(value, small[name], rtol=1e-4, atol=1e-6)


def test_run__non_finite_loss_is_an_error(tmp_path):
    config = make_config(tmp_path)
    config.source.data[3] = math.nan
    with pytest.raises(RuntimeError, match=r"test: the loss is nan at epoch 1, step \d+ with lr 0.01"):
        train(config)


def test_run__does_not_save_or_score_after_a_non_finite_loss(tmp_path):
    config = make_config(tmp_path, batch_size=1, epochs=2, checkpoint_seconds=1e9, monitor="loss")
    config.source.data[config.train] = math.inf
    scored = []

    class Recorded(CrossEntropy):
        def score(self, summary, target):
            scored.append(0)
            return super().score(summary, target)

    config.objective = Recorded()
    with pytest.raises(RuntimeError, match=r"the loss is nan at epoch 1, step 1 with lr "):
        train(config)
    assert not scored
    assert not (tmp_path / checkpoint.CHECKPOINT_FILE).exists()


def test_run__reads_the_loss_every_log_steps_and_at_the_end_of_an_epoch(tmp_path, monkeypatch):
    config = make_config(tmp_path, batch_size=1, epochs=2, checkpoint_seconds=1e9)
    seen, logged = [], []
    flush = Trainer._flush_losses

    def record_step(self):
        seen.append(self.state.step)
        flush(self)

    monkeypatch.setattr(Trainer, "_flush_losses", record_step)
    config.on_step = lambda step, values: logged.append(step)
    train(config)
    assert seen == [20, 40, 44, 60, 80, 88]
    assert logged == [20, 40, 60, 80]


@pytest.fixture
def eager(monkeypatch):
    """Compile with the eager backend, which starts faster."""
    compile_network = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda network, **options: compile_network(network, backend="eager", **options)
    )


@pytest.mark.parametrize("interrupt_at", [("epoch", 2), ("step", 9)], ids=lambda point: f"{point[0]}{point[1]}")
def test_compile__does_not_change_results_names_or_resume(tmp_path, eager, interrupt_at):
    def compiled(folder, **settings):
        config = make_config(tmp_path / folder, ema_decay=0.9, **settings)
        config.compile = True
        return config

    plain, uninterrupted = train(make_config(tmp_path / "plain", ema_decay=0.9)), train(compiled("uninterrupted"))
    with pytest.raises(Interrupted):
        train(compiled("interrupted", interrupt_at=interrupt_at))
    resumed = train(compiled("interrupted"))
    assert plain[0].history == uninterrupted[0].history == resumed[0].history
    assert uninterrupted[1].keys() == plain[1].keys()
    for index in (1, 2):
        assert all(torch.equal(uninterrupted[index][name], value) for name, value in plain[index].items())
        assert all(torch.equal(uninterrupted[index][name], value) for name, value in resumed[index].items())


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="needs a C++ compiler")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compile__through_inductor_has_similar_losses(tmp_path, precision, monkeypatch):
    from torch._inductor import config

    monkeypatch.setattr(config, "compile_threads", 1)  # a pool of compile processes starts slowly
    weights = {}
    for compiled in (False, True):
        trainer_config = make_config(tmp_path / str(compiled), epochs=1, precision=precision)
        trainer_config.network[2].p = 0.0
        trainer_config.compile = compiled
        weights[compiled] = train(trainer_config)[2]
    close = {"rtol": 1e-4, "atol": 1e-5} if precision == "fp32" else {"rtol": 0.05, "atol": 0.02}
    for name, value in weights[False].items():
        torch.testing.assert_close(weights[True][name], value, **close)


def test_resume__ignores_damaged_checkpoints_and_those_of_other_runs(tmp_path):
    with pytest.raises(Interrupted):
        train(make_config(tmp_path, interrupt_at=("epoch", 2)))
    path = tmp_path / checkpoint.CHECKPOINT_FILE
    uninterrupted = train(make_config(tmp_path / "uninterrupted"))
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    resumed = train(make_config(tmp_path))
    assert all(torch.equal(uninterrupted[2][name], value) for name, value in resumed[2].items())
    other = make_config(tmp_path)
    other.key = "another"
    assert len(train(other)[0].history) == 4
