"""Kills lose nothing, and what they would cost without the product's care is seen."""

import pytest

from config import artifact
from torture.kills import siege
from torture.kills.writes import Moment
from torture.registry import load
from torture.scenarios import kill
from training import restart

pytestmark = pytest.mark.slow


def test_kill__loses_nothing(small):
    found = small("kill")
    assert found.lost == []
    assert found.injected == found.survived >= 3
    assert found.figures["number of kills inside a save"] >= 1
    assert found.figures["greatest number of steps lost"] <= 1


def test_kill__full_form_besieges_every_stage():
    parts = load("kill").parts(True).values()
    runs = [run for part in parts for run in part["runs"]]
    assert {stage for stage, *_ in runs} == set(siege.STAGES)
    assert {variant for _, variant, *_ in runs} == set(kill.VARIANTS)
    assert sum(aimed for _, _, aimed, _ in runs) >= 100


def killed(tmp_path, monkeypatch, *plans):
    """What comes of kills at chosen moments of stage 1, each in a run from the start."""
    monkeypatch.setattr(siege, "moments", lambda *_: [])
    real = siege.Siege._besiege
    chosen = [(plan, 1) for plan in plans]
    monkeypatch.setattr(siege.Siege, "_besiege", lambda self, out, name, _: real(self, out, name, list(chosen)))
    return kill.inject(tmp_path, [["frozen", "online", 0, 0]], flow=False)


SAVED = "out/artifacts/frozen/.fold-1.training/.checkpoint.safetensors.tmp"
PUBLISHED = "out/artifacts/frozen/.fold-1.partial"


@pytest.mark.parametrize(
    ("owner", "name", "instead", "moment", "words"),
    [
        (restart, "resume", lambda *_: False, Moment("rename", SAVED, 3, None), "went on at step 0, though step"),
        (artifact, "recover", lambda _: None, Moment("rename", PUBLISHED, 1, None), "left behind"),
    ],
)
def test_kill__what_is_lost_is_seen(tmp_path, monkeypatch, owner, name, instead, moment, words):
    monkeypatch.setattr(owner, name, instead)
    (lost,) = killed(tmp_path, monkeypatch, moment).lost
    assert words in lost
