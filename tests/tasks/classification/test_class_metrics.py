import numpy as np
import pytest

from medtune.evaluation.intervals import intervals
from medtune.tasks.classification.class_metrics import per_class
from medtune.tasks.classification.metrics import METRICS
from medtune.tasks.classification.statistics import accumulate


def make_stats(patients=(8, 8), wrong=3):
    labels = np.repeat(np.repeat(np.arange(len(patients)), patients), 4)
    ids = np.repeat(np.arange(sum(patients)), 4)
    predictions = np.where(np.random.default_rng(2).random(len(labels)) < wrong / 10, 0, labels)
    return accumulate(labels, np.eye(len(patients))[predictions], predictions, ids)


def test_per_class__recall_of_two_classes_is_sensitivity_and_specificity():
    stats = make_stats()
    rows, overall = per_class(stats, ["no", "yes"], 0.95), intervals(METRICS, stats)
    for row, name in zip(rows, ("specificity", "sensitivity"), strict=True):
        interval = overall[name]
        assert (row["recall"], row["recall_lo"], row["recall_hi"]) == (interval.value, interval.lo, interval.hi)
        assert row["patients"] == 8
        assert row["reason"] is None


def test_per_class__perfect_class_has_interval():
    row = per_class(make_stats(wrong=0), ["no", "yes"], 0.95)[1]
    for name in ("recall", "precision"):
        assert row[name] == row[f"{name}_hi"] == 1
        assert row[f"{name}_lo"] == pytest.approx(0.025 ** (1 / 8))


def test_per_class__one_patient_of_a_class_has_values_and_a_reason():
    row = per_class(make_stats((9, 1), wrong=0), ["no", "yes"], 0.95)[1]
    assert row["recall"] == 1
    assert row["recall_lo"] is None
    assert "number of patients without whom the metric is undefined: 1" in row["reason"]


def test_per_class__never_predicted_class_has_no_precision():
    row = per_class(make_stats((6, 6), wrong=10), ["no", "yes"], 0.95)[1]
    assert row["precision"] is None
    assert (row["recall"], row["f1"]) == (0, 0)
    assert 0 < row["recall_hi"] < 0.5


@pytest.mark.parametrize(
    ("patients", "without"),
    [
        ((3, 5), {"recall": "3 patients, but its interval needs 4", "f1": "3 patients, but its interval needs 5"}),
        ((4, 8), {"f1": "4 patients, but its interval needs 5"}),
        ((5, 8), {}),
    ],
)
def test_per_class__few_patients_of_a_class_have_values_and_a_reason(patients, without):
    row = per_class(make_stats(patients, wrong=2), ["no", "yes"], 0.95)[0]
    for name in ("recall", "f1"):
        assert row[name] is not None
        assert (row[f"{name}_lo"] is None) == (name in without), name
        assert without.get(name, "") in (row["reason"] or "")


def test_per_class__precision_counts_patients_of_other_classes():
    row = per_class(make_stats((3, 9), wrong=2), ["no", "yes"], 0.95)[1]
    assert row["precision_lo"] is None
    assert row["recall_lo"] is not None
