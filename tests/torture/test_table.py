"""Outcomes summed, and the verdict on them."""

import pytest

from torture.outcome import Outcome
from torture.registry import load
from torture.table import table, verdict


def test_outcome__adds_up_and_keeps_the_greatest():
    whole = Outcome()
    for fault, worst in ((None, 0.1), ("was used", 0.3), (None, 0.2)):
        part = Outcome()
        part.count("flip", fault)
        part.figure("number of files", 1)
        part.figure("greatest", worst)
        whole.add(part)
    assert (whole.injected, whole.survived, whole.lost) == (3, 2, ["flip: was used"])
    assert whole.figures == {"number of files": 3, "greatest": 0.3}


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome(3, 3), "yes"),
        (Outcome(3, 2, ["flip: was used"]), "NO"),
        (Outcome(3, 2), "NO"),
        (Outcome(3, 3, not_run=["no mounts here"]), "not shown"),
        (Outcome(3, 2, ["flip: was used"], not_run=["no mounts here"]), "NO"),
        (Outcome(), "not shown"),
    ],
)
def test_verdict(outcome, said):
    assert verdict(outcome) == said


def test_table__has_a_row_for_each():
    scenario = load("metrics")
    lines = table([(scenario, Outcome(10_000, 9_999, ["x: y"], {"greatest difference": 3e-16}), 90)]).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("| 12 | ")
    assert lines[2].endswith("| 10,000; greatest difference 3e-16 | 9,999 | 1 | NO | 1.5 |")
