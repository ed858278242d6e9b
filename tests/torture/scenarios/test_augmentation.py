"""Augmentation under random settings, and that blank images would be seen."""

import math

import pytest

from medtune.config.training import AugmentParams
from medtune.training import augmentation


def test_augmentation__leaves_pictures(small):
    outcome = small("augmentation")
    assert outcome.lost == []
    assert outcome.injected == outcome.survived == 1000
    assert outcome.figures["greatest share of constant images"] <= 0.001


def test_augmentation__range_wide_enough_to_blank_images_is_seen(small, monkeypatch):
    for name in ("brightness", "contrast", "stain"):  # as wide as they were
        monkeypatch.setattr(AugmentParams.model_fields[name], "metadata", AugmentParams.model_fields["shift"].metadata)
    AugmentParams.model_rebuild(force=True)
    try:
        outcome = small("augmentation")
    finally:
        monkeypatch.undo()
        AugmentParams.model_rebuild(force=True)
    assert outcome.figures["greatest share of constant images"] > 0.001
    assert all("came out constant" in line for line in outcome.lost)
    assert outcome.lost


@pytest.mark.parametrize(("name", "wrong", "said"), [
    ("_jitter_stain", lambda x, *rest: x * 255, "values from"),
    ("_resample", lambda x, *rest: x * math.nan, "some are NaN"),
])  # fmt: skip
def test_augmentation__image_out_of_range_is_seen(small, monkeypatch, name, wrong, said):
    monkeypatch.setattr(augmentation, name, wrong)
    monkeypatch.setattr("torch.Tensor.clamp_", lambda x, *ends: x)
    assert any(said in line for line in small("augmentation").lost)
