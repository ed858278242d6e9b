"""Size limits of statistics, plots, tables and texts with a thousand classes."""

import time
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from medtune.evaluation.intervals import Interval
from medtune.serving.tasks.classification import summary
from medtune.tasks.classification import metrics, plots, report, statistics, tables
from medtune.tasks.classification.class_metrics import per_class
from medtune.tasks.classification.warnings import evaluation_warnings
from medtune.tracking.metrics import flatten_metrics

CLASSES = tuple(f"class {k} with a name {'that is long ' * 5}" for k in range(1000))
MIB = 2**20


@pytest.fixture(scope="module")
def scored():
    draw = np.random.default_rng(0)
    labels = np.resize(np.arange(1000), 1500)
    scores = draw.random((1500, 1000)) ** 8
    scores[np.arange(1500), labels] += 1.5 * draw.random(1500)
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    predictions = probabilities.argmax(axis=1)
    ids = np.array([f"P{k}" for k in range(1500)])
    return SimpleNamespace(labels=labels, probabilities=probabilities, predictions=predictions, patient_ids=ids,
                           correct=labels == predictions, rows=np.arange(1500))  # fmt: skip


def test_statistics__memory_and_time(scored):
    started = time.process_time()
    tracemalloc.start()
    result = metrics.compute_all(scored.labels, scored.probabilities, scored.predictions, scored.patient_ids)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Dense matrices per patient would have 1,500 x 1,000 x 1,000 values, or 12 GB.
    assert peak < 400 * MIB
    assert time.process_time() - started < 60
    assert result["accuracy"] == pytest.approx(scored.correct.mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["confusion", "roc", "patients"])
def test_plot__pixels_memory_and_time(tmp_path, scored, name):
    started = time.process_time()
    tracemalloc.start()
    if name == "confusion":
        counts = statistics.confusion_matrix(scored.labels, scored.predictions, 1000)
        plots.draw_confusion(tmp_path / "plot.png", counts, CLASSES, "test")
    elif name == "roc":
        plots.draw_roc(tmp_path / "plot.png", tables.roc_curves(CLASSES, scored), "test")
    else:
        plots.draw_patients(tmp_path / "plot.png", tables.patient_rows(scored), CLASSES, "test")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    with Image.open(tmp_path / "plot.png") as image:
        assert image.width < 4000
        assert image.height < 4000
    assert peak < 400 * MIB
    assert time.process_time() - started < 60


def test_confusion__other_classes_are_summed(scored):
    counts = statistics.confusion_matrix(scored.labels, scored.predictions, 1000)
    shown, names, note = plots._most_confused(counts, CLASSES)
    assert shown.shape == (31, 31)
    assert shown.sum() == len(scored.labels)
    assert names[-1] == "970 other classes"
    assert "30 of 1,000" in note


def test_report_and_tracking__bounded_number_of_rows(tmp_path, scored):
    rows = per_class(
        statistics.accumulate(scored.labels, scored.probabilities, scored.predictions, scored.patient_ids),
        CLASSES,
        0.95,
    )
    shown = report.most_errors(rows)
    assert len(shown) == 30
    least = min(row["support"] + row["predicted"] - 2 * (row["recall"] or 0) * row["support"] for row in shown)
    assert all(
        row in shown or row["support"] + row["predicted"] - 2 * (row["recall"] or 0) * row["support"] <= least
        for row in rows
    )
    value = Interval(0.5, 0.4, 0.6).as_dict()
    result = flatten_metrics({"test": {"auroc": value}, "validation": {}, "per_class": rows, "folds": []})
    assert len(result) < 10


def test_texts__are_short(scored):
    document = {"classes": list(CLASSES), "decision": {"kind": "argmax"}}
    assert "and 970 more" in summary(document)
    prepared = SimpleNamespace(info={"patients_known": True}, classes=CLASSES)
    rules = SimpleNamespace(decision={}, calibration=SimpleNamespace(at_bound=False))
    fold = SimpleNamespace(fold=1, rules=rules, val=SimpleNamespace(labels=scored.labels[:400]))
    result = evaluation_warnings(prepared, [fold], scored)
    assert len(result) == 2
    assert any("1,000 classes" in warning for warning in result)
    assert any("600 classes" in warning for warning in result)
