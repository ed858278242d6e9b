import csv

import numpy as np
import pytest
from sklearn import metrics as reference

from medtune.tasks.classification import tables
from medtune.tasks.classification.folds import ClassifierPredictions


def make_scored(n=80, classes=3, seed=0) -> ClassifierPredictions:
    draw = np.random.default_rng(seed)
    probabilities = np.round(draw.dirichlet(np.ones(classes), n), 2)
    labels = draw.integers(0, classes, n)
    patients = draw.integers(0, 10, n).astype(str)
    return ClassifierPredictions(
        np.arange(n), labels, patients, probabilities, probabilities, probabilities.argmax(axis=1)
    )


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("classes", [2, 3])
def test_roc_curves__equal_scikit_learn(classes):
    scored = make_scored(classes=classes)
    names = tuple("abc"[:classes])
    curves = tables.roc_curves(names, scored)
    assert list(curves) == (["b"] if classes == 2 else list(names))
    for name, (fpr, tpr) in curves.items():
        k = names.index(name)
        expected = reference.roc_auc_score(scored.labels == k, scored.probabilities[:, k])
        assert np.trapezoid(tpr, fpr) == pytest.approx(expected, abs=1e-12)
        assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)


def test_roc_curves__class_without_positives_is_omitted(tmp_path):
    scored = make_scored(classes=4)
    scored.labels[scored.labels == 3] = 0
    curves = tables.roc_curves(tuple("abcd"), scored)
    assert list(curves) == ["a", "b", "c"]
    tables.write_roc(tmp_path / "roc.csv", curves)
    assert {row["class"] for row in read(tmp_path / "roc.csv")} == {"a", "b", "c"}


def test_patient_rows__lowest_fraction_first():
    scored = make_scored()
    rows = tables.patient_rows(scored)
    assert sum(row["images"] for row in rows) == 80
    assert [row["correct"] for row in rows] == sorted(row["correct"] for row in rows)


def test_write_reliability__before_and_after(tmp_path):
    tables.write_reliability(tmp_path / "r.csv", make_scored(), 10)
    rows = read(tmp_path / "r.csv")
    assert {row["calibration"] for row in rows} == {"before", "after"}
    assert sum(int(row["images"]) for row in rows) == 160


def test_sort_by_confidence__most_confident_first():
    scored = make_scored()
    order = tables.sort_by_confidence(scored, correct=False)
    confidence = scored.probabilities[order, scored.predictions[order]]
    assert (np.diff(confidence) <= 0).all()
    assert not scored.correct[order].any()
