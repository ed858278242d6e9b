"""Cache of the metrics: equal results, and a new entry for everything that the metrics depend on."""

import numpy as np
import pytest

from medtune.serving.volumes.pipeline import PostProcessing
from medtune.tasks.segmentation.case_cache import CaseCache
from medtune.tasks.segmentation.case_metrics import case_metrics

LABELS, SPACING = {"organ": 1, "lesion": 2}, (1.0, 1.5, 2.0)
TRUTH = np.zeros((8, 9, 10), np.uint8)
TRUTH[2:6, 2:6, 2:6] = 1
PREDICTED = np.roll(TRUTH, 1, 0)
PREDICTED[0, 0, 0] = 1
NONE = PostProcessing()


def test_metrics__are_read_by_another_process_and_equal_those_without_a_cache(tmp_path):
    arguments = (TRUTH, PREDICTED, NONE, SPACING, LABELS, 1.0)
    first, second = CaseCache(tmp_path / "cache"), CaseCache(tmp_path / "cache")
    expected = repr(case_metrics(TRUTH, PREDICTED, SPACING, LABELS, 1.0))  # NaN differs from itself
    assert repr(first.metrics(*arguments)) == repr(second.metrics(*arguments)) == expected
    assert "nan" in expected
    assert (first.computed, second.computed) == (1, 0)
    without = CaseCache(None)
    assert repr(without.metrics(*arguments)) == expected
    assert without.computed == 1


@pytest.mark.parametrize(
    "change",
    [
        {"truth": np.roll(TRUTH, 1, 2)},
        {"predicted": np.roll(PREDICTED, 1, 2)},
        {"post_processing": PostProcessing((1,))},
        {"spacing": (1.0, 1.5, 2.5)},
        {"labels": {"organ": 2, "lesion": 1}},
        {"labels": {"lesion": 1, "organ": 2}},
        {"tolerance": 2.0},
        {"tolerance": {"organ": 1.0, "lesion": 1.0}},
        {"distances": False},
    ],
)
def test_metrics__depend_on_every_argument(tmp_path, change):
    arguments = {
        "truth": TRUTH, "predicted": PREDICTED, "post_processing": NONE, "spacing": SPACING, "labels": LABELS,
        "tolerance": 1.0,
    }  # fmt: skip
    cases = CaseCache(tmp_path)
    cases.metrics(**arguments)
    changed = cases.metrics(**{**arguments, **change})
    assert cases.computed == 2
    assert [case.label for case in changed] == list(change.get("labels", LABELS))


@pytest.mark.parametrize("damage", [b"", b"x" * 40, "flip"])
def test_metrics__of_a_damaged_entry_are_computed_again(tmp_path, damage):
    arguments = (TRUTH, PREDICTED, NONE, SPACING, LABELS)
    cases = CaseCache(tmp_path)
    expected = repr(cases.metrics(*arguments))
    (path,) = tmp_path.rglob("*.json")
    content = path.read_bytes()
    path.write_bytes(content[:-3] + b"0" + content[-2:] if damage == "flip" else damage)
    assert repr(cases.metrics(*arguments)) == expected
    assert cases.computed == 2
    assert repr(CaseCache(tmp_path).metrics(*arguments)) == expected
