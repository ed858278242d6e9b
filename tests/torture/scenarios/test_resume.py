"""Cut runs end as uncut ones, and that a resumed run which lacks something is seen."""

import pytest

from torture.registry import load

pytestmark = pytest.mark.slow


def test_resume__ends_bit_identical(small_alone):
    outcome = small_alone("resume")
    assert outcome.lost == []
    assert outcome.injected == outcome.survived == 3


def test_resume__full_form_tries_every_cut():
    parts = load("resume").parts(True).values()
    assert {part["backbone"] for part in parts} == {"test_vit", "test_efficientnet"}
    assert sorted(method for part in parts for method in part.get("methods", [])) == sorted(
        2 * ["none", "lora", "ssf", "bitfit"]
    )
    assert all("cuts" not in part for part in parts)


@pytest.mark.parametrize(
    ("idle", "part", "words"),
    [
        (("torch", "set_rng_state"), "lora", "step 7, after the cut, has another loss"),
        (("medtune.training.checkpoint", "load_optimizer"), "whole", "step 6, after the cut, has another loss"),
        (("medtune.training.trainer_state", "load_trainer"), "frozen", "went on from step [0]"),
    ],
)
def test_resume__what_was_not_put_back_is_seen(small_alone, idle, part, words):
    (lost,) = small_alone("resume", part, idle).lost
    assert words in lost
