import csv
from types import SimpleNamespace

import numpy as np
import pytest

from medtune.tasks.multilabel import tables
from medtune.tasks.multilabel.folds import FindingPredictions
from medtune.tasks.multilabel.plots import sort_by_confidence
from medtune.tasks.multilabel.predictions import read_predictions, write_predictions
from medtune.tasks.multilabel.statistics import accumulate
from medtune.tasks.multilabel.warnings import evaluation_warnings

NAMES = ("mass", "edema", "hernia")


@pytest.fixture
def scored():
    labels = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]], bool)
    probabilities = np.array([[0.9, 0.4, 0.1], [0.8, 0.6, 0.1], [0.3, 0.2, 0.1], [0.1, 0.7, 0.1]])
    patients = np.array(["P0", "P1", "P2", "P0"])
    return FindingPredictions(np.arange(4), patients, labels, probabilities, probabilities, probabilities >= 0.5)


def test_per_finding__rows_with_reasons(scored):
    stats = accumulate(scored.labels, scored.probabilities, scored.decided, scored.patient_ids)
    mass, edema, hernia = tables.per_finding(stats, NAMES, 0.95)
    assert (mass["class"], mass["positives"], mass["images"], mass["patients"]) == ("mass", 2, 4, 2)
    assert (mass["auroc"], mass["sensitivity"], mass["f1"]) == (1, 1, 1)
    assert (edema["sensitivity"], edema["specificity"]) == (0.5, 0.5)
    assert (hernia["auroc"], hernia["reason"], hernia["prevalence"]) == (None, "no test image shows it", 0)
    result = tables.baseline([mass, edema, hernia])
    assert result == {"auroc": 0.5, "average_precision": 0.5, "balanced_accuracy": 0.5}
    assert set(tables.baseline([hernia]).values()) == {None}


def test_predictions__round_trip(scored, tmp_path):
    prepared = SimpleNamespace(classes=NAMES, info={"no_finding": "healthy"}, paths=tuple("abcd"))
    write_predictions(tmp_path / "predictions.csv", prepared, scored)
    with (tmp_path / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == ["mass|edema", "mass", "healthy", "edema"]
    assert [row["prediction"] for row in rows] == ["mass", "mass|edema", "healthy", "edema"]
    read = read_predictions(tmp_path / "predictions.csv")
    assert read.support == {"mass": 2, "edema": 1, "hernia": 0}
    expected = accumulate(scored.labels, scored.probabilities, scored.decided, scored.patient_ids)
    assert np.array_equal(read.stats.actual, expected.actual)
    assert np.array_equal(read.stats.true_positives, expected.true_positives)


def test_predictions__file_of_another_task(tmp_path):
    (tmp_path / "predictions.csv").write_text("path,group,label,prediction,prob_a,prob_b\na,P,a,a,0.5,0.5\n")
    with pytest.raises(ValueError, match="not probabilities and decisions of findings"):
        read_predictions(tmp_path / "predictions.csv")


def test_confusion__omits_true_negatives(scored, tmp_path):
    tables.write_confusion(tmp_path / "confusion.csv", NAMES, scored)
    assert (tmp_path / "confusion.csv").read_text().splitlines()[1:] == [
        "mass,mass", "mass,mass", "edema,no edema", "no edema,edema", "edema,edema",
    ]  # fmt: skip


def test_roc_curves__scored_findings_only(scored):
    assert list(tables.roc_curves(NAMES, scored)) == ["mass", "edema"]


def test_reliability__all_pairs(scored):
    rows = tables.reliability(scored.labels, scored.probabilities, 10)
    assert sum(row["images"] for row in rows) == 12
    assert all(row["lower"] < row["confidence"] <= row["upper"] + 1e-12 for row in rows)


def test_sort_by_confidence__incorrect_and_correct_images(scored):
    assert sort_by_confidence(scored, correct=False).tolist() == [0, 1]
    assert sort_by_confidence(scored, correct=True).tolist() == [3]


def test_warnings__few_patients_and_failed_fits(scored):
    prepared = SimpleNamespace(classes=NAMES, info={"patients_known": True})
    rules = SimpleNamespace(
        decision={"reasons": {"hernia": "0 validation patients show it, fewer than 3: threshold 0.5"}},
        calibration=SimpleNamespace(reasons={"hernia": "no validation image shows it: not calibrated"}),
    )
    fold = SimpleNamespace(fold=1, rules=rules)
    assert evaluation_warnings(prepared, [fold], scored) == [
        "No test image shows hernia: the metrics are undefined, and averages exclude them.",
        "Fewer than 10 test patients show mass 2, edema 1: "
        "confidence intervals of these findings are wide and approximate.",
        "Fold 1, threshold: hernia: 0 validation patients show it, fewer than 3: threshold 0.5.",
        "Fold 1, calibration: hernia: no validation image shows it: not calibrated.",
    ]
