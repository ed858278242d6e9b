import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.config.load import load
from medtune.config.training import TrainingParams


@pytest.mark.parametrize(
    ("schedule", "stages"), [("frozen", ["frozen"]), ("full", ["finetune"]), ("staged", ["frozen", "finetune"])]
)
def test_training_stages__follow_the_schedule(schedule: str, stages: list[str]) -> None:
    assert list(load(sets=[f"schedule={schedule}"]).training_stages) == stages


@pytest.mark.parametrize(("settings", "epochs"), [
    ({"epochs": 3}, 0.6),
    ({"epochs": 100}, 2),
    ({"epochs": 3, "warmup_epochs": 1.5}, 1.5),
    ({"epochs": 1, "warmup_epochs": 4}, 1),
])  # fmt: skip
def test_warmup__default_and_limit(settings, epochs):
    assert TrainingParams(**settings).warmup == pytest.approx(epochs)


@given(st.integers(1, 20), st.integers(1, 64), st.integers(1, 5000), st.integers(0, 500), st.integers(1, 4))
def test_repeats_for__minimum_that_reaches_min_steps(epochs, batch_size, images, min_steps, repeats):
    params = TrainingParams(epochs=epochs, batch_size=batch_size, min_steps=min_steps, repeats_per_epoch=repeats)
    result = params.repeats_for(images)
    needed = min_steps * batch_size
    assert result * epochs * images >= needed
    assert result == repeats or (result - 1) * epochs * images < needed


def test_repeats_for__is_exact():
    assert TrainingParams(epochs=1, batch_size=29, min_steps=159).repeats_for(159) == 29
