"""Renamed keys: the error contains the new key."""

import pytest

from medtune.config.errors import InputError
from medtune.config.load import load


@pytest.mark.parametrize(("assignment", "new"), [
    ("data.task=binary", "data.labels"),
    ("evaluate.ece_bins=9", "evaluate.reliability_bins"),
    ("export.int8_metric_drop=0.1", "export.int8_max_metric_drop"),
    ("export.int8_speedup=2", "export.int8_min_speedup"),
    ("export.metric_drop=0.1", "export.max_metric_drop"),
    ("finetune.passes=2", "finetune.repeats_per_epoch"),
    ("finetune.accumulate=2", "finetune.gradient_accumulation_steps"),
    ("frozen.ema=0.9", "frozen.ema_decay"),
    ("frozen.select_by=loss", "frozen.monitor"),
    ("frozen.store_gb=1", "frozen.feature_cache_gb"),
    ("frozen.views=4", "frozen.feature_views"),
    ("gate.tolerance=0.1", "gate.min_improvement"),
    ("handoff.keep=3", "handoff.keep_last"),
])  # fmt: skip
def test_renamed_key__error_names_the_new_key(assignment: str, new: str) -> None:
    with pytest.raises(InputError) as error:
        load(sets=[assignment])
    assert str(error.value) == f"{assignment}: renamed. Use {new}."


def test_renamed_key__absent_classes_had_other_values() -> None:
    with pytest.raises(InputError) as error:
        load(sets=["data.split.absent_classes=allow"])
    message = "replaced. Use data.split.allow_missing_classes=true or false."
    assert str(error.value) == f"data.split.absent_classes=allow: {message}"


def test_renamed_key__patient_column() -> None:
    with pytest.raises(InputError, match=r"^data\.columns\.group=case: renamed\. Use data\.columns\.patient\.$"):
        load(sets=["data.source=folder", "data.columns={group: case}"])


def test_renamed_key__patient_pattern() -> None:
    with pytest.raises(InputError, match=r"^data\.group_pattern=P: renamed\. Use data\.patient_pattern\.$"):
        load(sets=["data.source=folder", "data.group_pattern=P"])
