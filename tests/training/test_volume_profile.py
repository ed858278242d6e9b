"""Profile of training steps on patches of volumes."""

import pytest

from medtune.config.load import load
from medtune.training import profile
from medtune.training.volume_profile import profile_steps

SETS = ["task.kind=segmentation", "model.head.kind=decoder", "data.source=phantom", "data.patch=[16, 16, 16]",
        "frozen.monitor=dice", "finetune.monitor=dice", "gate.metric=dice", "model.backbone_args={}",
        "frozen.batch_size=2", "finetune.batch_size=2", "model.peft.method=lora"]  # fmt: skip


@pytest.mark.parametrize("schedule", ["frozen", "full", "staged"])
def test_profile__measures_the_stages_of_the_schedule(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "SECONDS", 0.1)
    result = profile_steps(load(sets=[*SETS, f"schedule={schedule}"]))
    steps = {"frozen": {"head"}, "full": {"train"}, "staged": {"head", "train"}}[schedule]
    assert result.keys() & {"head", "train"} == steps
    assert all(result[step]["seconds"] > 0 for step in {*steps, "forward"})
    assert result["memory"] > 1e8
