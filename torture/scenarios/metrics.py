"""Every metric against scikit-learn on random cases: absent classes, classes never predicted, ties, one image."""

import warnings
from pathlib import Path
from typing import Any

from torture.outcome import Outcome

NUMBER = 12
TITLE = "random cases through every metric, against scikit-learn"
TARGET = "10,000 cases, absent classes included: <= 1e-9; n scored = n in the set"
TOLERANCE = 1e-9
# scikit-learn fits these to fewer digits; tests/tasks/classification/test_recalibration.py compares them.
FITTED = ("calibration_slope", "calibration_intercept")


def parts(full: bool) -> dict[str, dict[str, Any]]:
    """Blocks of cases by their first seed."""
    if not full:
        return {"few": {"first": 0, "cases": 200}}
    return {f"from-{first}": {"first": first, "cases": 2500} for first in range(0, 10_000, 2500)}


def inject(folder: Path, first: int, cases: int) -> Outcome:
    """Compares `cases` random cases, seeded from `first` on."""
    from sklearn import config_context

    outcome = Outcome()
    with warnings.catch_warnings(), config_context(skip_parameter_validation=True, assume_finite=True):
        warnings.simplefilter("ignore")  # scikit-learn on classes that are predicted but not in the labels
        for seed in range(first, first + cases):
            fault, worst = compare(*random_case(seed))
            outcome.count(f"seed {seed}", fault)
            outcome.figure("greatest difference", worst)
    return outcome


def random_case(seed: int) -> tuple[Any, Any, Any, Any]:
    """Labels, probabilities, predictions and groups of a small set of few classes.

    Some classes are absent from the labels, some never predicted; every third case has many ties.
    """
    import numpy as np

    draw = np.random.default_rng(seed)
    classes = int(draw.integers(2, 7))
    n = int(draw.integers(1, 60))
    allowed = draw.permutation(classes)[: draw.integers(1, classes + 1)]
    labels = draw.choice(allowed, n)
    probabilities = draw.dirichlet(np.full(classes, draw.choice([0.2, 1.0, 5.0])), n)
    if seed % 3 == 0:  # coarse: many ties, though rows no longer sum to 1
        probabilities = np.round(probabilities, 1)
    predictions = probabilities.argmax(axis=1) if seed % 2 else draw.integers(0, classes, n)
    groups = draw.integers(0, max(n // 4, 1), n).astype(str)
    return labels, probabilities, predictions, groups


def compare(labels: Any, probabilities: Any, predictions: Any, groups: Any) -> tuple[str | None, float]:
    """What is wrong with the metrics of one case, or None; and the greatest difference from scikit-learn."""
    from medtune.tasks.classification import metrics, statistics

    right, worst = expected(labels, probabilities, predictions, groups), 0.0
    found = metrics.compute_all(labels, probabilities, predictions, groups)
    found = {name: value for name, value in found.items() if name not in FITTED}
    scored = int(statistics.accumulate(labels, probabilities, predictions, groups).confusion.sum())
    if scored != len(labels):
        return f"{scored} of {len(labels)} images scored", worst
    if found.keys() != right.keys():
        return f"metrics are {sorted(found)}, expected {sorted(right)}", worst
    for name, value in right.items():
        if (value is None) != (found[name] is None):
            return f"{name} is {found[name]}, expected {value}", worst
        difference = 0.0 if value is None else abs(found[name] - value)
        worst = max(worst, difference)
        if not difference <= TOLERANCE:
            return f"{name} is {found[name]}, expected {value}", worst
    return None, worst


def expected(labels: Any, probabilities: Any, predictions: Any, groups: Any) -> dict[str, Any]:
    """The metrics by scikit-learn, where it has them; else by their definition, written out plainly."""
    import numpy as np
    from sklearn import metrics as reference

    present = np.unique(labels)
    precision, recall, f1 = reference.precision_recall_fscore_support(
        labels, predictions, labels=present, average="macro", zero_division=0
    )[:3]
    hits = labels == predictions
    found = {
        "accuracy": reference.accuracy_score(labels, predictions),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, predictions),
        "macro_f1": f1,
        "macro_precision": precision,
        "macro_recall": recall,
        "paper_f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "auroc": _auroc(labels, probabilities),
        "brier": np.mean(np.sum((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2, axis=1)) / 2,
        "confidence_gap": np.mean(probabilities.max(axis=1)) - np.mean(probabilities.argmax(axis=1) == labels),
        "patient_recognition_rate": np.mean([hits[groups == group].mean() for group in np.unique(groups)]),
    }
    if probabilities.shape[1] == 2:
        found["sensitivity"] = _recall(labels, predictions, 1)
        found["specificity"] = _recall(labels, predictions, 0)
        one_class = len(present) == 1
        found["average_precision"] = (
            None if one_class else reference.average_precision_score(labels == 1, probabilities[:, 1])
        )
        for percent in (90, 95):
            name = f"sensitivity_at_{percent}_specificity"
            found[name] = None if one_class else _sensitivity_at(labels, probabilities, percent / 100)
    return found


def _auroc(labels: Any, probabilities: Any) -> Any:
    import numpy as np
    from sklearn.metrics import roc_auc_score

    present = np.unique(labels)
    if len(present) == 1:
        return None
    if probabilities.shape[1] == 2:
        return roc_auc_score(labels == 1, probabilities[:, 1])
    return np.mean([roc_auc_score(labels == k, probabilities[:, k]) for k in present])


def _sensitivity_at(labels: Any, probabilities: Any, specificity: float) -> Any:
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(labels == 1, probabilities[:, 1], drop_intermediate=False)
    return true[1 - false >= specificity - 1e-12].max()


def _recall(labels: Any, predictions: Any, k: int) -> Any:
    return (predictions[labels == k] == k).mean() if (labels == k).any() else None
