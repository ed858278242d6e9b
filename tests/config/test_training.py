import pytest

from medtune.config.load import load


@pytest.mark.parametrize(
    ("schedule", "stages"), [("frozen", ["frozen"]), ("full", ["finetune"]), ("staged", ["frozen", "finetune"])]
)
def test_training_stages__follow_the_schedule(schedule: str, stages: list[str]) -> None:
    assert list(load(sets=[f"schedule={schedule}"]).training_stages) == stages
