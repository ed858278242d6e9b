"""Benchmark of tracking: alternating steps of one training run with and without logging."""

import os

import pytest

from benchmarks import tracking

TINY = ["data.image_size=16", "data.images_per_patient=1", "model.backbone_args={img_size: 16}", "model.weights=none",
        "finetune.batch_size=2"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.nightly
def test_measure__step_with_and_without_logging(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    before = os.environ.get("MEDTUNE_CACHE")
    step, calls = tracking.measure(sets=TINY, pairs=4)
    assert (step.target, calls.target) == ("<= 1.01x", "<= 1 %")
    assert step.value > 0
    assert step.reference_value > 0
    assert "median of 4 neighboring pairs" in step.note
    assert os.environ.get("MEDTUNE_CACHE") == before


def test_alternating__logs_every_second_call():
    steps = []

    class Log:
        def log(self, values, step):
            steps.append(step)

    callback = tracking.Alternating(Log())
    for step in range(20, 120, 20):
        callback(step, {})
    assert steps == [40, 80]
    assert (len(callback.plain), len(callback.logged), len(callback.log_calls)) == (2, 2, 2)
