"""A bit flipped in, a part cut from, or the whole taken of every kind of file that is written and read again.

Seen means: who reads it says so in one line, or takes it for absent, which makes it anew. Two kinds of file have no
digest that their content is held against. Of a user's own weight file one that still reads with a flipped bit is
other weights: its sha256 is part of every key, so that nothing made with the one passes for made with the other. And
of a target's history, or of data/folds.csv, that is gone nothing tells but git: it begins anew.
"""

from pathlib import Path
from typing import Any

from torture.outcome import Outcome

NUMBER = 3
TITLE = "a bit flipped, a part cut off or the whole deleted of artifacts, packs, manifests, weights, bundles, targets"
TARGET = "1,000 mutations: all detected before use, none silently used"


def parts(full: bool) -> dict[str, dict[str, Any]]:
    """Files that a job leaves, and others, by the seed."""
    if not full:
        return {"files": {"job": False, "seed": 0, "count": 70}, "job": {"job": True, "seed": 0, "count": 66}}
    jobs = {f"job-{seed}": {"job": True, "seed": seed, "count": 220} for seed in (1, 2, 3)}
    return {
        **jobs,
        "files-1": {"job": False, "seed": 1, "count": 175},
        "files-2": {"job": False, "seed": 2, "count": 175},
    }


def inject(folder: Path, job: bool, seed: int, count: int) -> Outcome:
    """Does `count` harms, to each kind of file in turn."""
    import numpy as np

    from torture.damaged import files as damaged_files
    from torture.damaged import job as damaged_job
    from torture.damaged.place import inflict

    outcome = Outcome()
    places = (damaged_job if job else damaged_files).places(folder)
    for number in range(count):
        place = places[number % len(places)]
        what, fault = inflict(place, np.random.default_rng([3, seed, number]))
        outcome.count(what, fault)
    outcome.figure("kinds of file that a job leaves" if job else "other kinds of file", len(places))
    return outcome
