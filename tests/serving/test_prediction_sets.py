"""Prediction sets of a bundle in Python, CSV, JSON and HTTP."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtune.serving.bundle import Bundle, BundleError
from medtune.serving.http import predict_uploads
from medtune.serving.predict import write_predictions
from medtune.serving.prediction_sets import is_uncertain, prediction_sets, validate
from tests.robustness.tiny_bundle import write_bundle

SETS = {"coverage": 0.9, "holds_for": "each class", "min_probability": {"blue": 0.3, "red": 0.4}}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle.load(write_bundle(tmp_path / "bundle", prediction_sets=SETS))


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    result = []
    for red, blue in ((0, 255), (0, 10), (0, 0), (255, 0)):
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[..., 0], pixels[..., 2] = red, blue
        result.append(tmp_path / f"{red}_{blue}.png")
        Image.fromarray(pixels).save(result[-1])
    return result


def expected(probabilities: dict[str, float]) -> tuple[str, ...]:
    return tuple(name for name, limit in SETS["min_probability"].items() if probabilities[name] >= limit)


def test_predict__returns_the_set_and_uncertainty(bundle, images):
    result = bundle.predict(images)
    assert [prediction.set for prediction in result] == [expected(prediction.probabilities) for prediction in result]
    assert [prediction.uncertain for prediction in result] == [
        prediction.set != (prediction.label,) for prediction in result
    ]
    assert len({prediction.set for prediction in result}) > 1
    assert len({prediction.uncertain for prediction in result}) == 2


def test_predict__files_and_service_agree(bundle, images, tmp_path):
    result = bundle.predict(images)
    assert bundle.columns == ["prediction", "prob_blue", "prob_red", "set", "uncertain"]
    write_predictions(bundle, images, tmp_path / "p.csv")
    rows = list(csv.DictReader((tmp_path / "p.csv").open(newline="")))
    assert [(row["set"], row["uncertain"]) for row in rows] == [
        ("|".join(prediction.set), str(int(prediction.uncertain))) for prediction in result
    ]
    write_predictions(bundle, images, tmp_path / "p.json", as_json=True)
    entries = json.loads((tmp_path / "p.json").read_text())
    served = predict_uploads(bundle, [(path.name, path.read_bytes()) for path in images])
    for entry in (*entries, *served):
        assert entry["uncertain"] is (entry["set"] != [entry["prediction"]])
    assert [tuple(entry["set"]) for entry in entries] == [tuple(entry["set"]) for entry in served]


def test_predict__no_sets_without_calibration(tmp_path, images):
    bundle = Bundle.load(write_bundle(tmp_path / "plain"))
    (result,) = bundle.predict(images[:1])
    assert (result.set, result.uncertain) == (None, None)
    assert bundle.columns == ["prediction", "prob_blue", "prob_red"]
    assert "set" not in predict_uploads(bundle, [("a", images[0].read_bytes())])[0]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([], 'min_probability" is missing or null: expected a number for each of ["blue", "red"]'),
        ({"min_probability": {"blue": 0.3}}, "expected the same classes"),
        ({"min_probability": {"blue": 0.3, "red": "0.4"}}, 'min_probability.red" is "0.4"'),
    ],
)
def test_validate__error_names_the_field(tmp_path, sets, message):
    assert message in validate({"classes": ["blue", "red"], "prediction_sets": sets})
    with pytest.raises(BundleError, match="prediction_sets"):
        Bundle.load(write_bundle(tmp_path / "bundle", prediction_sets=sets))


def test_validate__rejects_the_separator_in_a_class():
    document = {"classes": ["a|b", "c"], "prediction_sets": {"min_probability": {"a|b": 0.1, "c": 0.2}}}
    assert "names without |" in validate(document)


def test_is_uncertain__for_several_classes_no_class_or_another_class():
    members = np.array([[True, True], [False, False], [True, False], [True, False]])
    assert is_uncertain(members, np.array([0, 0, 0, 1])).tolist() == [True, True, False, True]


def test_prediction_sets__may_be_empty():
    members = prediction_sets(np.array([[0.2, 0.39], [0.3, 0.4]]), SETS, ["blue", "red"])
    assert members.tolist() == [[False, False], [True, True]]
