"""Pickles that run code, and that one which is run would be seen."""

import numpy as np
import pytest
import torch


@pytest.mark.slow
def test_pickles__nothing_runs_and_each_is_refused(small):
    outcome = small("pickles")
    assert outcome.lost == []
    assert outcome.injected == outcome.survived > 200


@pytest.mark.slow
def test_pickles__one_that_runs_is_seen(small, monkeypatch):
    load, read = torch.load, np.lib.format.read_array
    monkeypatch.setattr(torch, "load", lambda path, **given: load(path, map_location="cpu", weights_only=False))
    monkeypatch.setattr(np.lib.format, "read_array", lambda stream, **given: read(stream, allow_pickle=True))
    lost = small("pickles").lost
    ran = {line.partition(":")[0] for line in lost if line.endswith("EXECUTED")}
    assert ran >= {"weights .pth", "medtune.doctor's look at weights", "bundle sample_input.npy"}
