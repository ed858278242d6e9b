import numpy as np
import pytest

from medtune.serving.tasks import multilabel

DOCUMENT = {
    "classes": ["mass", "edema"],
    "no_finding": "healthy",
    "decision": {"kind": "thresholds", "thresholds": {"mass": 0.5, "edema": 0.25}},
}
OUTPUT = np.array([[0.5, 0.25], [0.75, 0.125], [0.25, 0.125]], np.float32)


def test_rows__match_the_columns():
    assert multilabel.columns(DOCUMENT) == ["prediction", "prob_mass", "prob_edema", "pred_mass", "pred_edema"]
    assert multilabel.rows(OUTPUT, DOCUMENT) == [
        ["mass|edema", 0.5, 0.25, 1, 1],
        ["mass", 0.75, 0.125, 1, 0],
        ["healthy", 0.25, 0.125, 0, 0],
    ]
    assert multilabel.shape(DOCUMENT) == (2,)


def test_entry__has_findings_probabilities_and_decisions():
    two_findings, _, no_finding = (multilabel.entry(row, DOCUMENT) for row in multilabel.rows(OUTPUT, DOCUMENT))
    assert two_findings == {
        "prediction": ["mass", "edema"],
        "probabilities": {"mass": 0.5, "edema": 0.25},
        "decisions": {"mass": True, "edema": True},
    }
    assert no_finding["prediction"] == []


def test_prediction__has_findings_probabilities_and_decisions():
    result = multilabel.prediction(multilabel.rows(OUTPUT, DOCUMENT)[1], DOCUMENT)
    assert (result.findings, result.decisions["edema"], result.probabilities["mass"]) == (("mass",), False, 0.75)


def test_summary__names_findings_and_thresholds():
    assert multilabel.summary(DOCUMENT) == "any of mass (from 0.5), edema (from 0.25)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": []}, 'key "classes" is []'),
        ({"classes": ["mass", "mass"]}, "different names"),
        ({"decision": {"kind": "argmax"}}, 'key "decision.kind" is "argmax": expected "thresholds"'),
        ({"decision": {"kind": "thresholds", "thresholds": {"mass": 0.5}}}, "expected the same findings"),
        ({"decision": {"kind": "thresholds", "thresholds": {"mass": 0.5, "edema": True}}}, 'edema" is true'),
        ({"no_finding": 3}, 'key "no_finding" is 3'),
    ],
)
def test_validate__error_names_the_field(change, message):
    assert multilabel.validate(DOCUMENT) is None
    assert message in multilabel.validate(DOCUMENT | change)
    assert multilabel.validate({}) == 'key "classes" is missing or null: expected a list of names of findings'
