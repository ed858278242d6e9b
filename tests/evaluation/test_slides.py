from pathlib import Path

import numpy as np
import pytest

from medtune.data.manifest import PreparedDataset
from medtune.data.slide_dataset import by_slide
from medtune.evaluation.outputs import OutputsRequest
from medtune.evaluation.slides import aggregate, slide_probabilities, to_slides
from medtune.serving.slides.aggregate import calibrate

NAMES = ("s0", "s0", "s0", "s1", "s2", "s2")


def prepared(info):
    n = len(NAMES)
    rows = np.array([int(name[1]) for name in NAMES])
    return PreparedDataset(
        Path("x"), info, ("a", "b", "c"), tuple(f"{name}#{i}" for i, name in enumerate(NAMES)), rows,
        np.array([f"P{row}" for row in rows]), rows, np.where(rows[:, None] == 0, "val", "test"),
        np.zeros((n, 2, 2, 3), np.uint8), tuple("abcdef"), {"slide_path": NAMES},
    )  # fmt: skip


TILES = {"tiles": {}, "n_slides": 3, "n_images": 6}


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def test_aggregate__log_of_the_mean_probability():
    logits = np.random.default_rng(0).normal(0, 5, (5, 3))
    rows, result = aggregate(by_slide(prepared(TILES)), np.array([0, 1, 2, 4, 5]), logits, "mean")
    assert rows.tolist() == [0, 2]
    expected = [softmax(logits[:3]).mean(0), softmax(logits[3:]).mean(0)]
    np.testing.assert_allclose(np.exp(result), expected)


def test_aggregate__extreme_logits_stay_finite():
    logits = np.array([[800.0, 0.0, -800.0]] * 3, np.float32)
    _, result = aggregate(by_slide(prepared(TILES)), np.arange(3), logits, "mean")
    np.testing.assert_allclose(result, [[0, -800, -1600]])


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_slide_probabilities__equal_those_of_the_bundle(temperature):
    logits = np.random.default_rng(1).normal(0, 3, (6, 3))
    slides, rows, result = slide_probabilities(
        prepared(TILES), np.arange(6), softmax(logits)[:, None], {"aggregation": "mean", "temperature": temperature}
    )
    _, logs = aggregate(slides, np.arange(6), logits, "mean")
    assert rows.tolist() == [0, 1, 2]
    np.testing.assert_allclose(result, softmax(logs / temperature))
    np.testing.assert_allclose(result[1], calibrate(softmax(logits)[3], temperature))


def test_to_slides__rows_per_split():
    request = OutputsRequest(0, None, {"val": np.array([0, 1, 2]), "test": np.array([3, 4, 5])}, "key")
    logits = {"val": np.zeros((3, 3), np.float32), "test": np.zeros((3, 3), np.float32)}
    slides, (slide_request,), (values,) = to_slides(prepared(TILES), [request], [logits], "mean")
    assert slides.paths == ("s0", "s1", "s2")
    assert {split: rows.tolist() for split, rows in slide_request.indices.items()} == {"val": [0], "test": [1, 2]}
    np.testing.assert_allclose(values["test"], np.log(np.full((2, 3), 1 / 3)))
    unchanged = to_slides(prepared({}), [request], [logits], "mean")
    assert unchanged[0].slide_of_tile == ()
    assert unchanged[1][0] is request
    assert unchanged[2][0] is logits


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_attention__slide_logits_equal_those_of_the_bundle(temperature):
    outputs = np.random.default_rng(2).normal(0, 3, (6, 4)).astype(np.float32)
    slides, rows, result = slide_probabilities(
        prepared(TILES), np.arange(6), outputs[:, None], {"aggregation": "attention", "temperature": temperature}
    )
    _, logits = aggregate(slides, np.arange(6), outputs, "attention")
    exact = outputs.astype(np.float64)
    for row, members in enumerate(([0, 1, 2], [3], [4, 5])):
        weights = np.exp(exact[members, 3]) / np.exp(exact[members, 3]).sum()
        np.testing.assert_allclose(logits[row], sum(w * exact[m, :3] for w, m in zip(weights, members, strict=True)))
    np.testing.assert_allclose(result, softmax(logits / temperature))
    assert rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("kind", "width"), [("mean", 3), ("attention", 4)])
def test_slide_probabilities__of_several_networks_are_their_mean(kind, width):
    """Average of networks after aggregation and calibration of the tiles per network."""
    outputs = np.random.default_rng(3).random((6, 2, width))
    document = {"aggregation": kind, "members": [{"temperature": 0.5}, {"temperature": 2.0}]}
    _, rows, result = slide_probabilities(prepared(TILES), np.arange(6), outputs, document)
    alone = [
        slide_probabilities(
            prepared(TILES), np.arange(6), outputs[:, m : m + 1], {"aggregation": kind, "temperature": temperature}
        )[2]
        for m, temperature in enumerate((0.5, 2.0))
    ]
    np.testing.assert_allclose(result, (alone[0] + alone[1]) / 2)
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    assert rows.tolist() == [0, 1, 2]


def test_to_slides__records_the_aggregation():
    request = OutputsRequest(0, None, {"val": np.arange(3), "test": np.array([3, 4, 5])}, "key")
    outputs = {"val": np.zeros((3, 4), np.float32), "test": np.zeros((3, 4), np.float32)}
    slides, _, (values,) = to_slides(prepared(TILES), [request], [outputs], "attention")
    assert slides.info["aggregation"] == "attention"
    assert values["test"].shape == (2, 3)
