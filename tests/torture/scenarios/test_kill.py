"""Kills lose nothing, and what they would cost without the product's care is seen."""

import pytest

from tests.torture.small import alone, make_idle
from torture.kills import kill_loop
from torture.kills.writes import Moment
from torture.registry import load
from torture.scenarios import kill

pytestmark = pytest.mark.slow


def test_kill__loses_nothing(small_alone):
    found = small_alone("kill")
    assert found.lost == []
    assert found.injected == found.survived >= 3
    assert found.figures["number of kills inside a save"] >= 1
    assert found.figures["greatest number of steps lost"] <= 1


def test_kill__full_form_besieges_every_stage():
    parts = load("kill").parts(True).values()
    runs = [run for part in parts for run in part["runs"]]
    assert {stage for stage, *_ in runs} == set(kill_loop.STAGES)
    assert {variant for _, variant, *_ in runs} == set(kill.VARIANTS)
    assert sum(aimed for _, _, aimed, _ in runs) >= 100


SAVED = Moment("rename", "out/artifacts/frozen/.fold-1.training/.checkpoint.safetensors.tmp", 3, None)
PUBLISHED = Moment("rename", "out/artifacts/frozen/.fold-1.partial", 1, None)


def killed(folder, moment, idle):
    """What comes of one kill of stage 1, begun anew, where a function of the product does nothing."""
    make_idle(idle)
    kill_loop.moments = lambda *_: []
    besiege = kill_loop.Siege._besiege
    kill_loop.Siege._besiege = lambda self, out, name, _: besiege(self, out, name, [(moment, 1)])
    return kill.inject(folder, [["frozen", "online", 0, 0]], flow=False)


@pytest.mark.parametrize(
    ("idle", "moment", "words"),
    [
        (("medtune.training.trainer_state", "load_trainer"), SAVED, "went on at step 0, though step"),
        (("medtune.runtime.artifact", "recover_interrupted_publish"), PUBLISHED, "left behind"),
    ],
)
def test_kill__what_is_lost_is_seen(tmp_path, idle, moment, words):
    (lost,) = alone(killed, tmp_path, moment, idle).lost
    assert words in lost
