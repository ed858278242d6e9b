"""Compatibility check of the networks of volumes."""

import pytest

from medtune.config.load import load
from medtune.models.compatibility import check_model

TASK = ["task.kind=segmentation", "model.head.kind=decoder", "data.source=phantom", "model.backbone_args={}",
        "frozen.monitor=dice", "finetune.monitor=dice", "gate.metric=dice", "schedule=full"]  # fmt: skip


@pytest.mark.parametrize(
    ("sets", "backbone"),
    [([], True), (["model.backbone=none", "model.weights=none"], False),
     (["model.backbone=unet", "model.weights=none"], True)],
)  # fmt: skip
def test_describe_segmenter__counts_parameters(sets: list[str], backbone: bool) -> None:
    report = check_model(load(sets=[*TASK, *sets]))
    assert (report["shape_fault"], report["weights_fault"]) == (None, None)
    assert (report["parameters"] > 0) is backbone
    assert report["head"] > 0


def test_describe_segmenter__unsupported_patch_and_weights_are_named(tmp_path) -> None:
    assert "data.patch=[10, 10, 10]" in check_model(load(sets=[*TASK, "data.patch=[10, 10, 10]"]))["shape_fault"]
    unsupported = [*TASK, "model.backbone=unet", "model.weights=none", "model.peft.method=adapter"]
    assert "model.peft.method=adapter" in check_model(load(sets=unsupported))["shape_fault"]
    (tmp_path / "x.safetensors").write_bytes(b"x")
    report = check_model(load(sets=[*TASK, f"model.weights={tmp_path / 'x.safetensors'}"]))
    assert "x.safetensors" in report["weights_fault"]
