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
    rows, found = aggregate(by_slide(prepared(TILES)), np.array([0, 1, 2, 4, 5]), logits)
    assert rows.tolist() == [0, 2]
    expected = [softmax(logits[:3]).mean(0), softmax(logits[3:]).mean(0)]
    np.testing.assert_allclose(np.exp(found), expected)


def test_aggregate__extreme_logits_stay_finite():
    logits = np.array([[800.0, 0.0, -800.0]] * 3, np.float32)
    _, found = aggregate(by_slide(prepared(TILES)), np.arange(3), logits)
    np.testing.assert_allclose(found, [[0, -800, -1600]])


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_slide_probabilities__what_evaluation_and_bundle_say_agrees(temperature):
    logits = np.random.default_rng(1).normal(0, 3, (6, 3))
    slides, rows, found = slide_probabilities(prepared(TILES), np.arange(6), softmax(logits), temperature)
    _, logs = aggregate(slides, np.arange(6), logits)
    assert rows.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found, softmax(logs / temperature))
    np.testing.assert_allclose(found[1], calibrate(softmax(logits)[3], temperature))


def test_to_slides__rows_of_each_split():
    request = OutputsRequest(0, None, {"val": np.array([0, 1, 2]), "test": np.array([3, 4, 5])}, "key")
    logits = {"val": np.zeros((3, 3), np.float32), "test": np.zeros((3, 3), np.float32)}
    slides, (own,), (values,) = to_slides(prepared(TILES), [request], [logits])
    assert slides.paths == ("s0", "s1", "s2")
    assert {split: rows.tolist() for split, rows in own.indices.items()} == {"val": [0], "test": [1, 2]}
    np.testing.assert_allclose(values["test"], np.log(np.full((2, 3), 1 / 3)))
    same = to_slides(prepared({}), [request], [logits])
    assert same[0].slides == ()
    assert same[1][0] is request
    assert same[2][0] is logits
