"""Tests of the estimates of disk space and time, compared with manual calculations."""

import pytest

from medtune.config.load import load
from medtune.doctor.estimate import OFFICIAL_TRAIN_FRACTION, disk_requirements, stored_views, time_requirements
from medtune.training.profile import profile_steps

FACTS = {"tokens": 10, "channels": 100, "parameters": 1000, "head": 100}
MEASURED = {"forward": {"seconds": 1.0}, "head": {"seconds": 0.1}, "train": {"seconds": 3.0}}
SETS = [
    "schedule=staged",
    "model.head.kind=cdtm",
    "data.split.folds=5",
    "frozen.epochs=2",
    "finetune.epochs=4",
    "frozen.feature_views=8",
    "frozen.lr=0.1",
    "finetune.lr=0.1",
]


def test_disk__equals_a_manual_calculation() -> None:
    bytes_by_folder = disk_requirements(load(sets=[*SETS, "export.precisions=[fp32]"]), 1000, FACTS)
    assert bytes_by_folder["data/prepared"] == 1000 * 128 * 128 * 3
    assert bytes_by_folder["cache"] == pytest.approx(1000 * 8 * 10 * 100 * 2)
    assert bytes_by_folder["handoff"] == 5 * 1100 * 4 + 20e6
    assert bytes_by_folder["artifacts"] == pytest.approx(5 * (100 + 1100) * 4 + 52 * 1100 + bytes_by_folder["handoff"])
    frozen_schedule = disk_requirements(load(sets=[*SETS, "schedule=frozen", "export.precisions=[fp32]"]), 1000, FACTS)
    assert frozen_schedule["handoff"] == (1000 + 5 * 100) * 4 + 20e6
    one_fold = disk_requirements(
        load(sets=[*SETS, "data.split.protocol=official", "data.split.test_fold=1"]), 1000, FACTS
    )
    assert one_fold["cache"] == pytest.approx((1000 * OFFICIAL_TRAIN_FRACTION * 8 + 150) * 10 * 100 * 2)


def test_disk__folds_share_stored_features() -> None:
    assert (
        disk_requirements(load(sets=[*SETS, "data.split.test_fold=all"]), 1000, FACTS)["cache"]
        == 1000 * 8 * 10 * 100 * 2
    )


@pytest.mark.parametrize(
    "sets", [["frozen.feature_views=online"], ["schedule=full"], ["frozen.feature_cache_gb=0.001"]]
)
def test_disk__no_cache_without_stored_features(sets: list[str]) -> None:
    params = load(sets=[*SETS, *sets])
    assert stored_views(params, 1000, FACTS) == 0
    assert disk_requirements(params, 1000, FACTS)["cache"] == 0


def test_time__equals_a_manual_calculation() -> None:
    result = time_requirements(load(sets=SETS), 1000, MEASURED, 0.5, 8)
    assert result["data"] == 500
    assert result["stage 1"] == pytest.approx(1000 * 8 + 5 * 2 * 600 * 0.1)
    assert result["stage 2"] == pytest.approx(5 * (4 * 600 * 3 + 5 * 200))
    assert result["test"] == pytest.approx(1000)
    online = time_requirements(load(sets=SETS), 1000, MEASURED, 0.5, 0)
    assert online["stage 1"] == pytest.approx(5 * (2 * 600 * 1.1 + 2 * 200))
    train = 1000 * OFFICIAL_TRAIN_FRACTION
    one_fold = time_requirements(
        load(sets=[*SETS, "data.split.protocol=official", "data.split.test_fold=1"]), 1000, MEASURED, 0.5, 8
    )
    assert one_fold["stage 1"] == pytest.approx(train * 8 + 150 + 2 * train * 0.1)
    assert one_fold["data"] == result["data"]


def test_time__counts_the_candidates_for_the_learning_rate() -> None:
    one_rate = time_requirements(load(sets=SETS), 1000, MEASURED, 0.5, 8)
    rates = ["frozen.lr=[0.1, 0.2, 0.3]", "finetune.lr=[0.1, 0.2]"]
    three_rates = time_requirements(load(sets=[*SETS, *rates]), 1000, MEASURED, 0.5, 8)
    assert three_rates["stage 2"] == pytest.approx(2 * one_rate["stage 2"])
    # Features are computed only once.
    assert three_rates["stage 1"] - one_rate["stage 1"] == pytest.approx(5 * 2 * 2 * 600 * 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("sets", [["schedule=frozen"], ["schedule=full"], ["model.peft.method=lora"]])
def test_profile__measures_the_stages_of_the_schedule(sets: list[str]) -> None:
    result = profile_steps(load(sets=[*sets, "data.image_size=32", "model.backbone_args={img_size: 32}"]))
    steps = {"frozen": {"head"}, "full": {"train"}, "staged": {"head", "train"}}[load(sets=sets).schedule]
    assert result.keys() & {"head", "train"} == steps
    assert all(result[step]["seconds"] > 0 for step in {*steps, "forward"})
    assert result["memory"] > 1e8
