import subprocess
import sys

import numpy as np
import pytest

from medtune.config.project import PROJECT
from medtune.serving.tasks.classification import decide
from medtune.tasks.classification import decision
from medtune.tasks.classification.metrics import compute_all

CLASSES = ("benign", "malignant")


def two_columns(positive):
    return np.stack([1 - np.asarray(positive), np.asarray(positive)], axis=1)


def test_choose__separated_classes_split_in_the_gap():
    labels = np.array([0, 0, 0, 1, 1, 1])
    rule = decision.fit_decision(two_columns([0.6, 0.65, 0.7, 0.8, 0.85, 0.9]), labels, np.arange(6), CLASSES)
    assert rule["threshold"] == pytest.approx(0.75)
    assert (rule["kind"], rule["positive"], rule["chosen_on"]) == ("threshold", "malignant", "validation")
    assert (decide(two_columns([0.7, 0.8]), rule, CLASSES) == [0, 1]).all()


def test_choose__beats_one_half_where_probabilities_are_shifted():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 600)
    positive = 1 / (1 + np.exp(-(draw.normal(0, 1, 600) + 2 * labels + 1)))
    groups = np.arange(600) // 15
    probabilities = two_columns(positive)
    rule = decision.fit_decision(probabilities[:300], labels[:300], groups[:300], CLASSES)

    def balanced(decided):
        predictions = decide(probabilities[300:], decided, CLASSES)
        return compute_all(labels[300:], probabilities[300:], predictions, groups[300:])["balanced_accuracy"]

    assert rule["threshold"] > 0.7
    assert balanced(rule) > balanced({"kind": "argmax"}) + 0.05


def test_mean_curve__is_balanced_accuracy_at_every_threshold():
    labels, positive = np.array([0, 1, 0, 1]), np.array([0.2, 0.4, 0.4, 0.9])
    edges, heights = decision.bootstrapped_curve(
        positive, labels, np.zeros(4)
    )  # one patient: every resample is the set
    assert edges == pytest.approx([0, 0.2, 0.4, 0.9, 1])
    assert heights == pytest.approx([0.5, 0.75, 0.75, 0.5][: len(heights)])


def test_mean_curve__patients_of_one_class_each():
    # Half of the resamples of two patients hold one class only: they say nothing and are left out.
    edges, heights = decision.bootstrapped_curve(np.array([0.2, 0.9]), np.array([0, 1]), np.array(["a", "b"]))
    assert decision.best_plateau(edges, heights) == pytest.approx(0.55)


def test_best_plateau__of_equals_nearest_one_half():
    edges = np.array([0.0, 0.1, 0.3, 0.4, 0.6, 1.0])
    assert decision.best_plateau(edges, np.array([0.9, 0.5, 0.9, 0.5, 0.9])) == pytest.approx(0.35)


def test_best_plateau__is_wider_than_a_chance_peak():
    edges = np.linspace(0, 1, 6)
    assert decision.best_plateau(edges, np.array([0.5, 0.80, 0.82, 0.81, 0.5])) == pytest.approx(0.5)


def test_choose__one_class_falls_back_with_a_reason():
    rule = decision.fit_decision(two_columns([0.2, 0.3]), np.array([0, 0]), np.arange(2), CLASSES)
    assert rule["threshold"] == 0.5
    assert "one class only" in rule["reason"]


@pytest.mark.parametrize(("classes", "criterion"), [(("a", "b", "c"), "balanced_accuracy"), (CLASSES, "argmax")])
def test_choose__argmax_otherwise(classes, criterion):
    probabilities = np.full((4, len(classes)), 1 / len(classes))
    rule = decision.fit_decision(probabilities, np.array([0, 1, 0, 1]), np.arange(4), classes, criterion)
    assert rule == {"kind": "argmax"}


def test_choose__same_seed_same_threshold():
    draw = np.random.default_rng(1)
    labels, positive, groups = draw.integers(0, 2, 60), draw.random(60), draw.integers(0, 9, 60)
    first, second = (decision.fit_decision(two_columns(positive), labels, groups, CLASSES, seed=4) for _ in range(2))
    assert first == second


def test_apply__positive_class_may_stand_anywhere():
    rule = {"kind": "threshold", "positive": "benign", "threshold": 0.3}
    assert (decide(np.array([[0.3, 0.7], [0.29, 0.71]]), rule, CLASSES) == [0, 1]).all()


def test_apply__unknown_kind():
    with pytest.raises(ValueError, match="vote"):
        decide(np.eye(2), {"kind": "vote"}, CLASSES)


def test_scoring__imports_neither_torch_nor_scikit_learn():
    code = (
        "import sys, medtune.tasks.classification.decision, medtune.tasks.classification.metrics;"
        "import medtune.evaluation.bootstrap;"
        "sys.exit(bool({'torch', 'sklearn', 'scipy', 'matplotlib'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0
