import subprocess
import sys

import numpy as np
import pytest

from medtune.config.project import PROJECT
from medtune.serving.tasks.classification import decide
from medtune.tasks.classification import decision

CLASSES = ("benign", "malignant")


def two_columns(positive):
    return np.stack([1 - np.asarray(positive), np.asarray(positive)], axis=1)


def test_fit_decision__records_choice_and_patients():
    draw = np.random.default_rng(0)
    labels = np.arange(600) // 10 % 2
    positive = 1 / (1 + np.exp(-(draw.normal(0, 1, 600) + 2 * labels + 1)))
    rule = decision.fit_decision(two_columns(positive), labels, np.arange(600) // 10, CLASSES)
    assert (rule["kind"], rule["positive"], rule["chosen_on"]) == ("threshold", "malignant", "validation")
    assert rule["threshold"] > 0.7
    assert rule["criterion"] == "balanced_accuracy"
    assert (rule["images"], rule["patients"]) == (600, {"negative": 30, "positive": 30})
    assert "reason" not in rule


def test_fit_decision__single_class_has_default_threshold_and_reason():
    rule = decision.fit_decision(two_columns([0.2, 0.3]), np.array([0, 0]), np.arange(2), CLASSES)
    assert rule["threshold"] == 0.5
    assert "one class only" in rule["reason"]


@pytest.mark.parametrize(("classes", "criterion"), [(("a", "b", "c"), "balanced_accuracy"), (CLASSES, "argmax")])
def test_fit_decision__argmax(classes, criterion):
    probabilities = np.full((4, len(classes)), 1 / len(classes))
    rule = decision.fit_decision(probabilities, np.array([0, 1, 0, 1]), np.arange(4), classes, criterion)
    assert rule == {"kind": "argmax"}


def test_decide__positive_class_at_any_index():
    rule = {"kind": "threshold", "positive": "benign", "threshold": 0.3}
    assert (decide(np.array([[0.3, 0.7], [0.29, 0.71]]), rule, CLASSES) == [0, 1]).all()


def test_decide__unknown_kind():
    with pytest.raises(ValueError, match="vote"):
        decide(np.eye(2), {"kind": "vote"}, CLASSES)


def test_imports__no_torch_and_no_scikit_learn():
    code = (
        "import sys, medtune.tasks.classification.decision, medtune.tasks.classification.metrics;"
        "import medtune.evaluation.intervals;"
        "sys.exit(bool({'torch', 'sklearn', 'scipy', 'matplotlib'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0
