"""Shuffled labels, and that a split which mixes patients would be seen."""

import numpy as np
import pytest

from medtune.data import split_protocols

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("shuffled")]


def test_shuffled__nothing_is_learnt_but_from_a_leak(small):
    outcome = small("shuffled")
    assert outcome.lost == []
    assert outcome.injected == outcome.survived == 3 + 1 + 1
    assert outcome.figures["greatest balanced accuracy of the control"] > 0.6


def test_shuffled__patients_on_both_sides_are_seen(small, monkeypatch):
    def by_image(labels, groups, folds, kept=None):
        return np.random.default_rng(0).permutation(len(labels)) % folds

    monkeypatch.setattr(split_protocols, "grouped_stratified_folds", by_image)
    lost = small("shuffled", "cdtm-patient").lost
    assert any("mean of 3 shuffles" in line for line in lost)
