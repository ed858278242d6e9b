"""Comparison with controls: sentences and training costs."""

import json

import pytest

from medtune.evaluation.control import Control
from medtune.evaluation.control_comparison import _sentence, control_lines, training_controls, training_cost
from medtune.runtime.artifact import commit, partial_dir
from medtune.tasks import base

DICE = base.metrics("segmentation")[0]
HD95 = base.metrics("segmentation")[2]
CONTROL = Control("decoder_only", "decoder alone", "backbone")


def entry(name, value, difference, lo, hi):
    return {
        "test": {name: {"value": value}},
        "difference": {name: {"value": difference, "lo": lo, "hi": hi}},
    }


@pytest.mark.parametrize(
    ("metric", "numbers", "start"),
    [
        (DICE, (0.713, 0.002, -0.01, 0.02), "The backbone adds nothing that this test set can show: Mean Dice 0.715 "
         "against 0.713 of the decoder alone (difference 0.002, -0.010 to 0.020)"),
        (DICE, (0.7, 0.1, 0.05, 0.15), "The backbone improves the result: Mean Dice 0.800 against 0.700"),
        (DICE, (0.7, -0.1, -0.15, -0.05), "The backbone makes the result worse: Mean Dice 0.600 against 0.700"),
        (HD95, (9.0, -2.0, -3.0, -1.0), "The backbone improves the result: Mean HD95 (mm) 7.000 against 9.000"),
        (DICE, (0.7, -0.0001, -0.0004, 0.0002), "The backbone adds nothing that this test set can show: Mean Dice "
         "0.700 against 0.700 of the decoder alone (difference 0.000, 0.000 to 0.000)"),
        (DICE, (0.7, 0.1, None, None), "The contribution of the backbone has no interval: Mean Dice 0.800 against"),
        (DICE, (0.7, None, None, None), "The contribution of the backbone is unknown, because mean Dice is undefined"),
    ],
)  # fmt: skip
def test_sentence__states_what_the_interval_allows(metric, numbers, start):
    assert _sentence(CONTROL, entry(metric.name, *numbers), metric).startswith(start)


def test_control_lines__name_a_control_that_is_not_trained():
    absent = {"title": "decoder alone", "trained": False, "absence": "not trained (task.controls)"}
    trained = {"title": "x", "trained": True, "sentence": "The backbone adds nothing"}
    assert control_lines([absent, trained]) == [
        "control decoder alone: not trained (task.controls)", "The backbone adds nothing",
    ]  # fmt: skip
    assert training_controls({"metrics": {"controls": [trained]}}) == ["The backbone adds nothing"]
    assert training_controls({"classes": ["a"]}) == []


def test_training_cost__sums_stages_folds_and_learning_rates(tmp_path):
    def artifact(name, steps, **result):
        folder = tmp_path / name
        partial_dir(folder).mkdir()
        history = "".join(f"{epoch},{step}\n" for epoch, step in enumerate(steps))
        (partial_dir(folder) / "history.csv").write_text(f"epoch,step\n{history}")
        return commit(folder, name, json.loads(json.dumps(result)))

    head = {"trainable": 10, "seconds": 1.0, "trials": [{"seconds": 1.0}, {"seconds": 2.0}, {"failure": "NaN"}]}
    whole = {"trainable": 50, "seconds": 4.0, "trials": []}
    networks = [
        (artifact(f"frozen-{fold}", [2, 4], **head), artifact(f"finetune-{fold}", [0, 6], **whole)) for fold in (0, 1)
    ]
    assert training_cost(networks) == {"parameters": 50, "steps": 20, "seconds": 14.0}
