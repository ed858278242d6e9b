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


class Cut(Exception):
    """Simulated end of the process."""


class Noisy:
    """Batch source whose training inputs consume random numbers, as augmentation does."""

    def __init__(self, data):
        self.data = data

    def train(self, rows, generator, take):
        noise = 0.1 * torch.randn(len(rows), *self.data.shape[1:], generator=generator)
        return (self.data[rows] + noise)[take], Geometry()

    def score(self, rows):
        return self.data[rows]


def job(tmp_path, network="mlp", cut_at=None, **settings):
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
        if cut_at == ("epoch", int(values["epoch"])):
            raise Cut

    feed = Noisy(data)
    if cut_at and cut_at[0] == "step":
        plain, count = feed.train, iter(range(10_000))

        def train(rows, generator, take):
            if next(count) == cut_at[1]:
                raise Cut
            return plain(rows, generator, take)

        feed.train = train
    return TrainerConfig(
        name="test",
        network=model,
        saved=model,
        set_modes=lambda: (model.train(), freeze_batchnorm(model))[0] and None,
        source=feed,
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


def ended(made):
    at, best = Trainer(made, "cpu").run()
    return at, best, {k: v.clone() for k, v in made.saved.state_dict().items()}


CUTS = [("epoch", 1), ("epoch", 3), ("step", 0), ("step", 3), ("step", 9), ("step", 17)]


@pytest.mark.parametrize("cut_at", CUTS, ids=lambda cut: f"{cut[0]}{cut[1]}")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"checkpoint_seconds": 0.005},
        {"ema_decay": 0.9, "gradient_accumulation_steps": 2},
        {"optimizer": "adam"},
        {"repeats_per_epoch": 3},
    ],
    ids=["plain", "mid-epoch", "ema-accumulate", "adam", "passes"],
)
def test_resume__ends_bit_identical(tmp_path, cut_at, settings):
    whole = ended(job(tmp_path / "whole", **settings))
    with pytest.raises(Cut):
        ended(job(tmp_path / "cut", cut_at=cut_at, **settings))
    resumed = ended(job(tmp_path / "cut", **settings))
    assert all(torch.equal(whole[2][name], value) for name, value in resumed[2].items())
    assert all(torch.equal(whole[1][name], value) for name, value in resumed[1].items())
    assert whole[0].history == resumed[0].history


def test_run__returns_the_best_epoch_by_the_monitored_metric(tmp_path):
    at, best, last = ended(job(tmp_path, epochs=6, lr=0.2, monitor="loss"))
    losses = {row["epoch"]: row["val/loss"] for row in at.history}
    assert at.best_epoch == min(losses, key=losses.get)
    assert at.best_epoch == 6 or any(not torch.equal(best[name], last[name]) for name in best)


def test_run__without_validation_returns_the_last_epoch_of_the_same_schedule(tmp_path):
    seen = job(tmp_path / "seen", cut_at=("epoch", 3))
    with pytest.raises(Cut):
        ended(seen)
    unseen = job(tmp_path / "unseen", patience=1)
    unseen.val, unseen.last_epoch = np.arange(0), 3
    at, best, last = ended(unseen)
    assert (at.epoch, at.best_epoch) == (3, 3)
    assert all(torch.equal(best[name], value) for name, value in seen.saved.state_dict().items())
    assert all(torch.equal(best[name], last[name]) for name in best)
    assert not any(name.startswith("val/") for row in at.history for name in row)


def test_run__stops_when_patience_runs_out(tmp_path):
    at, _, _ = ended(job(tmp_path, epochs=50, lr=0.5, patience=2))
    assert at.epoch == at.best_epoch + 2 < 50


def test_run__frozen_batchnorm_statistics_do_not_change(tmp_path):
    made = job(tmp_path, network="batchnorm")
    before = made.network[1].running_mean.clone()
    ended(made)
    assert torch.equal(before, made.network[1].running_mean)


def test_run__an_epoch_with_three_repeats_uses_every_image_three_times(tmp_path):
    made = job(tmp_path, repeats_per_epoch=3, epochs=1, batch_size=4)
    seen = []
    plain = made.source.train
    made.source.train = lambda rows, generator, take: (seen.extend(rows), plain(rows, generator, take))[1]
    done, _ = Trainer(made, "cpu").run()
    assert done.step == 33
    assert np.array_equal(np.bincount(seen)[:44], np.full(44, 3))
    assert sorted(seen[:44]) == list(range(44))  # one repeat after the other


def test_run__few_images_are_repeated_until_min_steps(tmp_path):
    done, _ = Trainer(job(tmp_path, min_steps=40, epochs=2, batch_size=8), "cpu").run()
    assert done.step >= 40  # 44 images alone would be 12 steps
    assert [row["epoch"] for row in done.history] == [1, 2]


def test_run__head_has_a_separate_learning_rate(tmp_path):
    """Use first steps of Adam, which change every weight by the learning rate."""
    made = job(tmp_path, epochs=1, batch_size=44, optimizer="adam", weight_decay=0, warmup_epochs=0, clip_norm=None)
    made.network.__dict__["head"] = made.network[3]  # not as an additional submodule
    made.head_lr, made.lr = 1e-4, 1e-2
    before = {name: p.detach().clone() for name, p in made.network.named_parameters()}
    Trainer(made, "cpu").run()
    moved = {name: (p - before[name]).abs().max().item() for name, p in made.network.named_parameters()}
    assert moved["3.weight"] == pytest.approx(1e-4, rel=1e-2)
    assert moved["0.weight"] == pytest.approx(1e-2, rel=1e-2)


def test_run__accumulation_equals_the_large_batch(tmp_path):
    made = [job(tmp_path / str(n), batch_size=n, gradient_accumulation_steps=16 // n, epochs=1) for n in (16, 4)]
    for each in made:
        each.network[2].p = 0.0
        each.source.train = lambda rows, generator, take, feed=each.source: (feed.data[rows][take], Geometry())
    large, small = (ended(each)[2] for each in made)
    for name, value in large.items():
        torch.testing.assert_close(value, small[name], rtol=1e-4, atol=1e-6)


def test_run__reports_a_loss_that_is_not_finite(tmp_path):
    made = job(tmp_path)
    made.source.data[3] = math.nan
    with pytest.raises(RuntimeError, match=r"test: the loss is nan at epoch 1, step \d+ with lr 0.01"):
        ended(made)


def test_run__does_not_save_or_score_after_a_loss_that_is_not_finite(tmp_path):
    made = job(tmp_path, batch_size=1, epochs=2, checkpoint_seconds=1e9, monitor="loss")
    made.source.data[made.train] = math.inf
    scored = []

    class Recorded(CrossEntropy):
        def score(self, summary, target):
            scored.append(0)
            return super().score(summary, target)

    made.objective = Recorded()
    with pytest.raises(RuntimeError, match=r"the loss is nan at epoch 1, step 1 with lr "):
        ended(made)
    assert not scored
    assert not (tmp_path / checkpoint.CHECKPOINT_FILE).exists()


def test_run__reads_the_loss_every_log_steps_and_at_the_end_of_an_epoch(tmp_path, monkeypatch):
    made = job(tmp_path, batch_size=1, epochs=2, checkpoint_seconds=1e9)
    seen, logged = [], []
    real = Trainer._flush_losses

    def look(self):
        seen.append(self.state.step)
        real(self)

    monkeypatch.setattr(Trainer, "_flush_losses", look)
    made.on_step = lambda step, values: logged.append(step)
    ended(made)
    assert seen == [20, 40, 44, 60, 80, 88]
    assert logged == [20, 40, 60, 80]


@pytest.fixture
def eager(monkeypatch):
    """Compile without a backend, which starts faster."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, **options: real(network, backend="eager", **options))


@pytest.mark.parametrize("cut_at", [("epoch", 2), ("step", 9)], ids=lambda cut: f"{cut[0]}{cut[1]}")
def test_compile__has_the_same_result_and_names_and_resumes(tmp_path, eager, cut_at):
    def compiled(folder, **settings):
        made = job(tmp_path / folder, ema_decay=0.9, **settings)
        made.compile = True
        return made

    plain, whole = ended(job(tmp_path / "plain", ema_decay=0.9)), ended(compiled("whole"))
    with pytest.raises(Cut):
        ended(compiled("cut", cut_at=cut_at))
    resumed = ended(compiled("cut"))
    assert plain[0].history == whole[0].history == resumed[0].history
    assert whole[1].keys() == plain[1].keys()
    for kept in (1, 2):
        assert all(torch.equal(whole[kept][name], value) for name, value in plain[kept].items())
        assert all(torch.equal(whole[kept][name], value) for name, value in resumed[kept].items())


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="needs a C++ compiler")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compile__through_inductor_has_similar_losses(tmp_path, precision, monkeypatch):
    from torch._inductor import config

    monkeypatch.setattr(config, "compile_threads", 1)  # a pool of compile processes is slow to start
    ends = {}
    for compiled in (False, True):
        made = job(tmp_path / str(compiled), epochs=1, precision=precision)
        made.network[2].p = 0.0
        made.compile = compiled
        ends[compiled] = ended(made)[2]
    close = {"rtol": 1e-4, "atol": 1e-5} if precision == "fp32" else {"rtol": 0.05, "atol": 0.02}
    for name, value in ends[False].items():
        torch.testing.assert_close(ends[True][name], value, **close)


def test_resume__ignores_damaged_checkpoints_and_those_of_other_runs(tmp_path):
    with pytest.raises(Cut):
        ended(job(tmp_path, cut_at=("epoch", 2)))
    path = tmp_path / checkpoint.CHECKPOINT_FILE
    whole = ended(job(tmp_path / "whole"))
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    again = ended(job(tmp_path))
    assert all(torch.equal(whole[2][name], value) for name, value in again[2].items())
    other = job(tmp_path)
    other.key = "another"
    assert len(ended(other)[0].history) == 4
