"""Hostile images, and that one which comes through would be seen."""

from PIL import ImageFile

from medtune.data import decoding
from medtune.serving.decode import decode


def test_images__each_is_kept_whole_or_rejected_by_name(small):
    outcome = small("images")
    assert outcome.lost == []
    assert outcome.injected == outcome.survived == 121
    assert outcome.figures["number of kept"] + outcome.figures["number of rejected"] == 120
    assert outcome.figures["number of kept"] > 40


def test_images__part_of_a_picture_is_seen(small, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert any("another picture than the undamaged one" in line for line in small("images").lost)


def test_images__link_that_is_followed_is_seen(small, monkeypatch):
    monkeypatch.setattr(decoding.DecodeJob, "decode", lambda job, apply_voi: decode(job.file))
    lost = small("images").lost
    assert lost
    assert all("link-outside" in line and line.endswith(": kept") for line in lost)
