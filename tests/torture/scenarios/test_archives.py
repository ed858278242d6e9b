"""Hostile archives, and that one which gets through would be seen."""

from medtune.data import archive


def test_archives__nothing_lands_outside(small):
    outcome = small("archives", "archives")
    assert outcome.lost == []
    assert outcome.injected == outcome.survived == 26


def test_archives__npz_files_are_read_whole_or_refused(small):
    outcome = small("archives", "arrays")
    assert outcome.lost == []
    assert outcome.injected == outcome.survived == 10


def test_archives__what_is_written_outside_is_seen(small, monkeypatch):
    monkeypatch.setattr(archive, "_safe_parts", lambda archive, name: (name.replace("\0", ""),))
    lost = small("archives", "archives").lost
    assert any("written outside" in line for line in lost)


def test_archives__bomb_that_bursts_is_seen(small, monkeypatch):
    monkeypatch.setattr(archive, "MAX_SMALL", 1 << 30)
    assert {line.split()[1] for line in small("archives", "archives").lost} == {"tar-bomb:", "zip-bomb:"}
