"""Every metric against scikit-learn, absent classes and ties included."""

import warnings

import numpy as np
import pytest
from sklearn import config_context
from sklearn import metrics as reference

from evaluation import metrics


def random_case(seed: int):
    """A small set: few classes, some absent from the labels, some never predicted, tied probabilities."""
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


def auroc_of(labels, probabilities):
    classes = probabilities.shape[1]
    if len(np.unique(labels)) == 1:
        return None
    if classes == 2:
        return reference.roc_auc_score(labels == 1, probabilities[:, 1])
    return np.mean([reference.roc_auc_score(labels == k, probabilities[:, k]) for k in np.unique(labels)])


def ece_of(labels, probabilities, bins=15):
    total, confidence = 0.0, probabilities.max(axis=1)
    for k in range(bins):
        inside = (confidence > k / bins if k else confidence >= 0) & (
            confidence <= (k + 1) / bins if k < bins - 1 else True
        )
        if inside.any():
            hit = (probabilities.argmax(axis=1) == labels)[inside]
            total += inside.sum() * abs(hit.mean() - confidence[inside].mean())
    return total / len(labels)


def expected(labels, probabilities, predictions, groups):
    present = np.unique(labels)
    precision, recall, f1 = reference.precision_recall_fscore_support(
        labels, predictions, labels=present, average="macro", zero_division=0
    )[:3]
    found = {
        "accuracy": reference.accuracy_score(labels, predictions),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, predictions),
        "macro_f1": f1,
        "macro_precision": precision,
        "macro_recall": recall,
        "paper_f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "auroc": auroc_of(labels, probabilities),
        "ece": ece_of(labels, probabilities),
        "patient_recognition_rate": np.mean([(labels == predictions)[groups == g].mean() for g in np.unique(groups)]),
    }
    if probabilities.shape[1] == 2:
        one_class = len(present) == 1
        found["sensitivity"] = recall_of(labels, predictions, 1)
        found["specificity"] = recall_of(labels, predictions, 0)
        found["average_precision"] = (
            None if one_class else reference.average_precision_score(labels == 1, probabilities[:, 1])
        )
    return found


def recall_of(labels, predictions, k):
    return (predictions[labels == k] == k).mean() if (labels == k).any() else None


@pytest.mark.parametrize("block", [0, *(pytest.param(block, marks=pytest.mark.slow) for block in range(1, 4))])
def test_metrics__agree_with_scikit_learn(block):
    for seed in range(block * 500, block * 500 + 500):
        case = random_case(seed)
        with warnings.catch_warnings(), config_context(skip_parameter_validation=True, assume_finite=True):
            warnings.simplefilter("ignore")  # scikit-learn on classes that are predicted but not in the labels
            right = expected(*case)
        found = metrics.measure(*case)
        assert found.keys() == right.keys()
        for name, value in right.items():
            if value is None:
                assert found[name] is None, (seed, name)
            else:
                assert found[name] == pytest.approx(value, abs=1e-9), (seed, name)


def test_score__agrees_with_measure():
    for seed in range(1, 200, 2):
        labels, probabilities, _, groups = random_case(seed)
        full = metrics.measure(labels, probabilities, probabilities.argmax(axis=1), groups)
        for name, value in metrics.score(labels, probabilities).items():
            assert full[name] == pytest.approx(value, abs=1e-12) if full[name] is not None else np.isnan(value)


def test_metrics__count_every_image():
    labels, probabilities, predictions, groups = random_case(7)
    assert metrics.tally(labels, probabilities, predictions, groups).confusion.sum() == len(labels)


def test_patient_recognition_rate__weighs_patients_equally():
    labels = np.array([0, 0, 0, 1])
    predictions = np.array([0, 0, 0, 0])
    found = metrics.measure(labels, np.eye(2)[predictions], predictions, np.array(["a", "a", "a", "b"]))
    assert found["patient_recognition_rate"] == 0.5
    assert found["accuracy"] == 0.75


def test_per_class__agrees_with_scikit_learn():
    labels, _, predictions, _ = random_case(20)
    classes = tuple("abcdefg")
    right = reference.precision_recall_fscore_support(labels, predictions, labels=range(7), zero_division=0)
    for k, row in enumerate(metrics.per_class(labels, predictions, classes)):
        assert [row["precision"] or 0, row["recall"] or 0, row["f1"] or 0, row["support"]] == pytest.approx(
            [column[k] for column in right]
        )


@pytest.mark.parametrize(
    ("probabilities", "labels", "words"),
    [
        (np.empty((0, 2)), [], "no images"),
        (np.array([[np.nan, 0.5], [0.5, 0.5]]), [0, 1], "1 of 2 images"),
        (np.array([[0.5, 0.5]]), [2], "outside 0 to 1"),
    ],
)
def test_score__refuses_what_cannot_be_scored(probabilities, labels, words):
    with pytest.raises(ValueError, match=words):
        metrics.score(np.array(labels, dtype=np.int64), probabilities)
