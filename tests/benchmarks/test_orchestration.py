"""Overhead of Prefect, measured on steps and trials that are already finished."""

import math
import os

import pytest

from benchmarks import orchestration


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.xdist_group("benchmark")
def test_measure__overhead_per_step_hour_and_trial():
    before = dict(os.environ)
    step, hour, trial, workers = orchestration.measure(number=6, rounds=1, workers=1, warm_up=0)
    assert step.value > 0 < step.reference_value
    assert hour.target == "<= 1 %"
    assert trial.target == "<= 150 ms"
    assert trial.note == "difference between 6 and 4 trials, 1 workers"
    # A difference of two measured times, which may be negative on a busy machine.
    assert (workers.unit, math.isfinite(workers.value)) == ("s", True)
    assert dict(os.environ) == before
