"""Damage to every kind of file, and that damage which is not seen by a reader would be seen here."""

import numpy as np
import pytest

from medtune.runtime import artifact
from medtune.serving import manifest as document
from torture.damaged import job as damaged_job
from torture.damaged import place as damage

pytestmark = pytest.mark.xdist_group("torture-damage")


@pytest.mark.slow
def test_damage__to_weights_targets_and_folds_is_seen(small):
    outcome = small("damage", "files")
    assert outcome.lost == []
    assert outcome.injected == outcome.survived == 70


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """What a job leaves, by kind."""
    return damaged_job.places(tmp_path_factory.mktemp("job"))


@pytest.mark.slow
def test_damage__to_what_a_job_leaves_is_seen(left):
    for number in range(6 * len(left)):
        what, fault = damage.inflict(left[number % len(left)], np.random.default_rng(number))
        assert fault is None, what


@pytest.mark.slow
def test_damage__that_no_reader_sees_is_seen(left, monkeypatch):
    monkeypatch.setattr(artifact, "verify", lambda found: True)
    monkeypatch.setattr(document, "read_file", lambda folder, document, name: (folder / name).read_bytes())
    monkeypatch.setattr(document, "check_file", lambda folder, document, name: None)
    lost = set()
    for number in range(6 * len(left)):
        place = left[number % len(left)]
        if damage.inflict(place, np.random.default_rng(number))[1]:
            lost.add(place.name)
    # A network, the logits and a checkpoint carry digests of their own.
    assert {place.name for place in left} - lost <= {"trained network", "logits", "checkpoint of a cut run"}
    assert {"data/prepared", "artifacts/evaluate", "bundle"} <= lost
