"""The input benchmark's four figures."""

import pytest

from benchmarks import inputs
from medtune.config.errors import InputError

TINY = ["data.image_size=32", "data.images_per_patient=1", "model.backbone_args={img_size: 32}", "model.weights=none",
        "finetune.batch_size=4"]  # fmt: skip


def test_measure__both_pipelines_and_the_share_of_a_step(monkeypatch):
    monkeypatch.setattr(inputs, "SIDE", 32)
    read, augmented, waiting, whole = inputs.measure(networks=[TINY], count=4, rounds=1, steps=3)
    assert (read.target, read.unit) == (">= 10x", "images/s")
    assert read.note == "700 x 460 PNG to 32 x 32, one process"
    assert read.ratio > augmented.ratio > 0
    assert 0 < waiting.value < whole.value < 100
    assert waiting.at_most == whole.at_most == 5


def test_measure__a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="no image file"):
        inputs.measure(networks=[TINY], images=tmp_path)
