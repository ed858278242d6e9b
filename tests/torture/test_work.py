"""A part in a process of its own: its outcome is kept; one that crashes or hangs is lost, and not kept."""

import dataclasses
import json
import threading
import time

import pytest

from torture import work
from torture.outcome import Outcome
from torture.registry import load
from torture.work import Job, Stopped, Store, perform


@pytest.fixture
def job():
    return Job(load("metrics"), "few", full=False)


def test_perform__gives_the_outcome_and_clears_up(job, tmp_path):
    outcome, ended = perform(job, tmp_path / "work", threading.Event())
    assert ended
    assert (outcome.injected, outcome.survived, outcome.lost) == (200, 200, [])
    assert list(tmp_path.iterdir()) == []


def test_perform__a_crash_is_lost_with_its_last_words(job, tmp_path):
    outcome, ended = perform(dataclasses.replace(job, part="none"), tmp_path / "work", threading.Event())
    assert not ended
    assert (outcome.injected, outcome.survived) == (1, 0)
    assert outcome.lost[0].startswith("none: ended with 1: ")
    assert "KeyError: 'none'" in outcome.lost[0]
    assert "KeyError" in (tmp_path / "work.log").read_text()


def test_perform__a_part_that_hangs_is_ended_and_lost(job, tmp_path):
    short = dataclasses.replace(job, scenario=dataclasses.replace(job.scenario, limit_s=0.1))
    begun = time.monotonic()
    outcome, ended = perform(short, tmp_path / "work", threading.Event())
    assert not ended
    assert outcome.lost[0].startswith("few: did not end within 0 s")
    assert time.monotonic() - begun < 5


def test_perform__stops_when_told(job, tmp_path):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        perform(job, tmp_path / "work", stop)


def test_store__finds_what_this_source_did_and_nothing_else(job, tmp_path, monkeypatch):
    store, outcome = Store(tmp_path), Outcome(2, 1, ["x: y"], {"number of saves": 2}, ["no mounts here"])
    assert store.find(job) is None
    store.keep(job, outcome, 1.26)
    assert store.find(job) == outcome
    assert store.seconds(job) == 1.3
    assert store.find(dataclasses.replace(job, full=True)) is None
    monkeypatch.setattr(work, "source_digest", lambda: "another")
    assert Store(tmp_path).find(job) is None


def test_store__a_damaged_record_is_done_again(job, tmp_path):
    store = Store(tmp_path)
    store.keep(job, Outcome(1, 1), 1)
    file = next(tmp_path.rglob("few.json"))
    file.write_text(json.dumps({"source": store.source, "outcome": {"gone": 1}}))
    assert store.find(job) is None


def test_source_digest__changes_with_a_source_file(tmp_path, monkeypatch):
    before = work.source_digest()
    assert before == work.source_digest()
    real = work.file_sha256
    monkeypatch.setattr(work, "file_sha256", lambda path: "0" if path.name == "checkpoint.py" else real(path))
    assert work.source_digest() != before
