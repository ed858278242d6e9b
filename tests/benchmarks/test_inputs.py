"""Benchmark of the inputs: four measurements."""

import pytest

from benchmarks import inputs
from medtune.config.errors import InputError
from medtune.serving.decode import decode

TINY = ["data.image_size=32", "data.images_per_patient=1", "model.backbone_args={img_size: 32}", "model.weights=none",
        "finetune.batch_size=4"]  # fmt: skip


def test_measure__both_pipelines_and_the_share_of_a_step(monkeypatch):
    decoded = []

    def count_and_decode(file):
        decoded.append(file)
        return decode(file)

    monkeypatch.setattr(inputs, "SIDE", 32)
    monkeypatch.setattr(inputs, "decode", count_and_decode)
    read, augmented, waiting, total = inputs.measure(networks=[TINY], count=4, rounds=1, steps=3)
    assert (read.target, read.unit) == (">= 10x", "images/s")
    assert read.note == "700 x 460 PNG to 32 x 32, one process"
    # All 4 files once for the pack, then in the warm-up and in the round by two pipelines.
    assert len(decoded) == 4 + 2 * 2 * 4
    assert len(set(decoded)) == 4
    for row in (read, augmented):
        assert row.value > 0
        assert row.ratio == pytest.approx(row.value / row.reference_value)
    assert 0 < waiting.value < total.value < 100
    assert waiting.at_most == total.at_most == 5


def test_measure__rejects_a_folder_without_images(tmp_path):
    with pytest.raises(InputError, match="no image file"):
        inputs.measure(networks=[TINY], images=tmp_path)
