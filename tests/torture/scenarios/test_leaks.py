"""Leaks prevented, refused or reported, and that one which is let through would be seen."""

import numpy as np
import pytest

from medtune.data import duplicates, split_protocols, splits
from medtune.data.sources import breakhis
from medtune.stages import data

pytestmark = pytest.mark.xdist_group("leaks")


@pytest.mark.slow
def test_leaks__none_is_silent(small):
    outcome = small("leaks")
    assert outcome.lost == []
    assert outcome.injected == outcome.survived == 20 + 1 + 3 + 8 + 1
    assert outcome.figures["number of exact copies refused"] >= 1


def test_leaks__patient_in_two_parts_is_seen(small, monkeypatch):
    def by_image(labels, groups, folds, kept=None):
        return np.random.default_rng(0).permutation(len(labels)) % folds

    monkeypatch.setattr(split_protocols, "grouped_stratified_folds", by_image)
    assert len(small("leaks", "listings-patient").lost) == 5
    assert "patients are in two parts" in small("leaks", "stages").lost[0]


def test_leaks__patient_that_left_its_fold_is_seen(small, monkeypatch):
    real = split_protocols.grouped_stratified_folds
    monkeypatch.setattr(
        split_protocols,
        "grouped_stratified_folds",
        lambda labels, groups, folds, kept=None: real(labels, groups, folds),
    )
    assert any("left the fold" in line for line in small("leaks", "listings-patient").lost)


@pytest.mark.parametrize("protocol", ["image", "official"])
def test_leaks__leak_that_is_not_reported_is_seen(small, monkeypatch, protocol):
    monkeypatch.setattr(splits, "_leaked_patients", lambda *given: ())
    assert "0 patients are named as leaked" in small("leaks", f"listings-{protocol}").lost[0]


@pytest.mark.parametrize(("module", "name", "wrong", "part", "said"), [
    (data, "_reject_duplicates", lambda exact, unit: None, "twins", "nothing was said"),
    (duplicates, "NEAR_BITS", -1, "near", "is not in report.json"),
    (breakhis, "KNOWN_ISSUES", (), "slide", "dataset.json does not name it"),
])  # fmt: skip
def test_leaks__copy_that_is_let_pass_is_seen(small, monkeypatch, module, name, wrong, part, said):
    monkeypatch.setattr(module, name, wrong)
    assert any(said in line for line in small("leaks", part).lost)
