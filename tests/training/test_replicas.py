"""Distributed training with two processes: rows, common state, and resume with dropout."""

import json

import numpy as np
import pytest
import torch

from medtune.config.training import AugmentParams
from medtune.training.augmentation import augment
from medtune.training.replicas import local_slice
from tests.forked_ranks import run_ranks
from tests.training.curves import all_curves


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    """Return the curves of a single process and of both of two processes."""
    folder = tmp_path_factory.mktemp("curves")
    first, second = run_two_processes(folder / "two")
    # Convert to JSON like the other curves, which turns tuples into lists.
    return json.loads(json.dumps(all_curves(folder / "one"))), first, second


def run_two_processes(folder):
    """Return the curves that every one of two processes computed."""
    shared = ("peft", "torch._functorch.aot_autograd")
    (printed,) = run_ranks(folder / "output", "tests.training.curves", str(folder), shared=shared)
    lines = [next(line for line in out.splitlines() if line.startswith("CURVES ")) for out in printed]
    return [json.loads(line.removeprefix("CURVES ")) for line in lines]


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
def test_settings__have_the_same_result_in_two_processes(curves):
    single, first, second = (result["settings"] for result in curves)
    assert first == second  # bit-exact averages, best epochs and decisions
    assert first["uninterrupted"] == first["resumed"]
    assert_same_curves(single, first)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
def test_methods__have_the_same_result_in_two_processes(curves):
    single, first, second = (result["methods"] for result in curves)
    assert first == second
    assert len(first) > 30
    assert_same_curves(single, first)


def assert_same_curves(single, first):
    for name, run in single.items():
        assert len(run["history"]) == len(first[name]["history"])
        for a, b in zip(run["history"], first[name]["history"], strict=True):
            assert a["step"] == b["step"]
            for loss in ("train/loss", "val/loss"):
                assert b[loss] == pytest.approx(a[loss], rel=1e-4), name


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_local_slice__covers_every_row_once(monkeypatch, batch, count):
    monkeypatch.setenv("WORLD_SIZE", str(count))
    weights = np.zeros(batch)
    for rank in range(count):
        monkeypatch.setenv("RANK", str(rank))
        take, weight = local_slice(batch)
        assert len(np.arange(batch)[take])
        weights[take] += weight
    assert weights.tolist() == [1.0] * batch


@pytest.mark.parametrize("take", [slice(0, None, 2), slice(1, None, 2), slice(0, 1)])
def test_augment__draws_for_the_complete_batch_in_every_process(take):
    images = torch.randint(0, 256, (5, 16, 16, 3), dtype=torch.uint8)
    options = AugmentParams(rotate=20.0)
    complete = augment(images, options, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    torch.testing.assert_close(augment(images[take], options, generator, 5, take), complete[take])
    reference = torch.Generator().manual_seed(3)
    augment(images, options, reference)
    assert torch.equal(generator.get_state(), reference.get_state())
