"""Every metric against scikit-learn: absent classes, classes that are never predicted, ties, a single image."""

import warnings
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from sklearn import config_context
from sklearn import metrics as reference

from medtune.tasks.classification import metrics, statistics
from tests.robustness.faults import Faults
from tests.robustness.profile import examples
from tests.tasks.classification.cases import Case, cases

pytestmark = pytest.mark.faults(
    row=12,
    title="metrics are computed for random predictions",
    target="10,000 cases, some with absent classes: values differ from scikit-learn by at most 1e-9. No sample is "
    "left out",
)
TOLERANCE = 1e-9
# scikit-learn fits these to fewer digits; tests/tasks/classification/test_recalibration.py compares them.
FITTED = ("calibration_slope", "calibration_intercept")


@examples(small=200, full=10_000)
@given(case=cases())
def test_metrics__agree_with_scikit_learn(faults, case):
    faults.count(repr(case), problem(case, faults))


@pytest.mark.parametrize("name", ["auroc", "brier", "macro_f1"])
def test_metrics__a_wrong_value_is_noticed(monkeypatch, name):
    correct = metrics.compute_all

    def wrong(*case):
        values = correct(*case)
        return values | {name: None if values[name] is None else values[name] + 2 * TOLERANCE}

    monkeypatch.setattr(metrics, "compute_all", wrong)
    assert problem(binary_case(), Faults()).startswith(f"{name} is")


def test_metrics__an_omitted_image_is_noticed(monkeypatch):
    correct = statistics.accumulate
    monkeypatch.setattr(statistics, "accumulate", lambda *case, **kwargs: correct(*(a[:-1] for a in case), **kwargs))
    assert "3 of 4 images scored" in problem(binary_case(), Faults())


def binary_case():
    positive = np.array([0.2, 0.6, 0.4, 0.9])
    return Case(
        np.array([0, 0, 1, 1]), np.stack([1 - positive, positive], 1), np.array([0, 1, 0, 1]), np.array(list("aabb"))
    )


def problem(case, faults):
    """Return the first difference between MedTune's metrics and the reference, or None."""
    with warnings.catch_warnings(), config_context(skip_parameter_validation=True, assume_finite=True):
        warnings.simplefilter("ignore")  # scikit-learn warns of classes that are predicted but not in the labels
        expected = reference_metrics(case)
    arrays = case.labels, case.probabilities, case.predictions, case.patients
    values = {name: value for name, value in metrics.compute_all(*arrays).items() if name not in FITTED}
    n_scored = int(statistics.accumulate(*arrays).confusion.sum())
    if n_scored != len(case.labels):
        return f"{n_scored} of {len(case.labels)} images scored"
    if values.keys() != expected.keys():
        return f"metrics are {sorted(values)}, expected {sorted(expected)}"
    for name, value in expected.items():
        if (value is None) != (values[name] is None):
            return f"{name} is {values[name]}, expected {value}"
        difference = 0.0 if value is None else abs(values[name] - value)
        faults.measure("greatest difference", difference)
        if not difference <= TOLERANCE:
            return f"{name} is {values[name]}, expected {value}"
    return None


def reference_metrics(case):
    """Return the metrics by scikit-learn, or by their definition where scikit-learn has none."""
    labels, probabilities, predictions, patients = astuple(case)
    present, correct = np.unique(labels), labels == predictions
    precision, recall, f1, _ = reference.precision_recall_fscore_support(
        labels, predictions, labels=present, average="macro", zero_division=0
    )
    expected = {
        "accuracy": reference.accuracy_score(labels, predictions),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, predictions),
        "macro_f1": f1,
        "macro_precision": precision,
        "macro_recall": recall,
        "paper_f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "auroc": None,
        "brier": np.mean(np.sum((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2, axis=1)) / 2,
        "confidence_gap": np.mean(probabilities.max(axis=1)) - np.mean(probabilities.argmax(axis=1) == labels),
        "patient_recognition_rate": np.mean([correct[patients == patient].mean() for patient in np.unique(patients)]),
    }
    binary = probabilities.shape[1] == 2
    if len(present) > 1:
        classes = [1] if binary else present
        expected["auroc"] = np.mean([reference.roc_auc_score(labels == k, probabilities[:, k]) for k in classes])
    if binary:
        positive, score = labels == 1, probabilities[:, 1]
        expected["sensitivity"] = correct[positive].mean() if positive.any() else None
        expected["specificity"] = correct[~positive].mean() if not positive.all() else None
        curves = dict.fromkeys(("average_precision", "sensitivity_at_90_specificity", "sensitivity_at_95_specificity"))
        if len(present) == 2:
            false, true, _ = reference.roc_curve(positive, score, drop_intermediate=False)
            curves["average_precision"] = reference.average_precision_score(positive, score)
            for percent in (90, 95):
                curves[f"sensitivity_at_{percent}_specificity"] = true[1 - false >= percent / 100 - 1e-12].max()
        expected |= curves
    return expected
