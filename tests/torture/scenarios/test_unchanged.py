"""Nothing changed, nothing runs; and that a step which ran would be seen."""

import pytest

from medtune.runtime import cache_key
from torture.scenarios.unchanged import executed

pytestmark = pytest.mark.slow


def test_unchanged__nothing_runs(small):
    outcome = small("unchanged")
    assert outcome.lost == []
    assert outcome.injected == 2


def test_unchanged__a_key_that_minds_too_much_is_seen(small, monkeypatch):
    monkeypatch.setattr(cache_key, "EXCLUDED_KEYS", set())
    (lost,) = small("unchanged").lost
    assert lost.startswith("what changes no result: executed frozen fold 0, finetune fold 0")


def test_executed__what_the_commands_say():
    said = (
        "data: 48 images (glands 12), 12 patients, split by patient\n"
        "frozen fold 1: cached (key 0a1b2c)\nfinetune fold 1: running (key 0a1b2c)\n"
        "evaluate: running (key 0a1b2c)\ndata: nothing changed, 48 images are ready\n"
    )
    assert executed(said) == ("data", "finetune", "evaluate")
