import csv

import numpy as np
import pytest
from sklearn import metrics as reference

from medtune.tasks.classification import tables
from medtune.tasks.classification.folds import Scored


def make_scored(n=80, classes=3, seed=0) -> Scored:
    draw = np.random.default_rng(seed)
    probabilities = np.round(draw.dirichlet(np.ones(classes), n), 2)
    labels = draw.integers(0, classes, n)
    groups = draw.integers(0, 10, n).astype(str)
    return Scored(np.arange(n), labels, groups, probabilities, probabilities, probabilities.argmax(axis=1))


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("classes", [2, 3])
def test_roc_curves__agree_with_scikit_learn(classes):
    scored = make_scored(classes=classes)
    names = tuple("abc"[:classes])
    curves = tables.roc_curves(names, scored)
    assert list(curves) == (["b"] if classes == 2 else list(names))
    for name, (fpr, tpr) in curves.items():
        k = names.index(name)
        right = reference.roc_auc_score(scored.labels == k, scored.probabilities[:, k])
        assert np.trapezoid(tpr, fpr) == pytest.approx(right, abs=1e-12)
        assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)


def test_roc_curves__class_without_positives_is_left_out(tmp_path):
    scored = make_scored(classes=4)
    scored.labels[scored.labels == 3] = 0
    curves = tables.roc_curves(tuple("abcd"), scored)
    assert list(curves) == ["a", "b", "c"]
    tables.write_roc(tmp_path / "roc.csv", curves)
    assert {row["class"] for row in read(tmp_path / "roc.csv")} == {"a", "b", "c"}


def test_patient_rows__lowest_share_first():
    scored = make_scored()
    rows = tables.patient_rows(scored)
    assert sum(row["images"] for row in rows) == 80
    assert [row["right"] for row in rows] == sorted(row["right"] for row in rows)


def test_write_reliability__before_and_after(tmp_path):
    tables.write_reliability(tmp_path / "r.csv", make_scored(), 10)
    rows = read(tmp_path / "r.csv")
    assert {row["calibration"] for row in rows} == {"before", "after"}
    assert sum(int(row["images"]) for row in rows) == 160


def test_order_by_confidence__most_confident_first():
    scored = make_scored()
    order = tables.order_by_confidence(scored, right=False)
    confidence = scored.probabilities[order, scored.predictions[order]]
    assert (np.diff(confidence) <= 0).all()
    assert not scored.right[order].any()


def test_join_history__counts_epochs_on_and_averages_folds(tmp_path):
    one = [{"epoch": 1, "step": 4, "val/loss": 1.0}, {"epoch": 2, "step": 8, "val/loss": 0.5}]
    two = [{"epoch": 1, "step": 4, "val/loss": 3.0}]
    then = [{"epoch": 0, "val/loss": 0.5}, {"epoch": 1, "val/loss": 0.25, "lr": 0.1}]
    joined = tables.join_history([("frozen", [one, two]), ("finetune", [then])])
    assert [(row["epoch"], row["stage"], row["folds"], row["val/loss"]) for row in joined] == [
        (1, "frozen", 2, 2.0),
        (2, "frozen", 1, 0.5),
        (3, "finetune", 1, 0.25),
    ]
    tables.write_history(tmp_path / "h.csv", joined)
    assert read(tmp_path / "h.csv")[0] == {"epoch": "1", "stage": "frozen", "folds": "2", "val/loss": "2.0", "lr": ""}


def test_join_history__full_schedule_keeps_its_first_epoch():
    joined = tables.join_history([("finetune", [[{"epoch": 0, "val/loss": 1.0}, {"epoch": 1, "val/loss": 0.5}]])])
    assert [row["epoch"] for row in joined] == [0, 1]


def test_read_history__no_file(tmp_path):
    assert tables.read_history(tmp_path / "history.csv") == []


def test_write_csv__hard_names_survive(tmp_path):
    tables.write_csv(tmp_path / "a.csv", ["path", "x"], [['a,"b"\nc', None]])
    assert read(tmp_path / "a.csv") == [{"path": 'a,"b"\nc', "x": ""}]
