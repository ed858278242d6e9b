"""`python -m torture`: what is done is not done again, and a missed target ends it with 1."""

import pytest

from medtune.config.errors import InputError
from torture import __main__ as command
from torture import registry
from torture.outcome import Outcome


@pytest.fixture
def done(monkeypatch):
    """Parts that were done; those of `doomed` are lost, those of `dead` crash."""

    def perform(job, folder, stop):
        done.parts.append(job.part)
        if job.part in done.dead:
            return Outcome(1, 0, [f"{job.part}: ended with -9"]), False
        return Outcome(10, 10 - (job.part in done.doomed), ["flip: was used"] * (job.part in done.doomed)), True

    done.parts, done.doomed, done.dead = [], set(), set()
    monkeypatch.setattr(command, "perform", perform)
    return done


def done_parts():
    return [part for scenario in registry.every() for part in scenario.parts(True)]


def test_run__goes_on_where_it_was(done, tmp_path, capsys):
    parts = list(registry.load("metrics").parts(True))
    done.dead = {parts[0]}
    with pytest.raises(SystemExit, match="1"):
        command.run(["metrics"], folder=tmp_path)
    assert sorted(done.parts) == sorted(parts)
    done.parts, done.dead = [], set()
    command.run(["metrics"], folder=tmp_path)
    assert done.parts == parts[:1]  # what crashed was not kept
    assert "| 40 | 40 | 0 | yes |" in capsys.readouterr().out
    done.parts = []
    command.run(["metrics"], folder=tmp_path)
    assert done.parts == []
    command.run(["metrics"], folder=tmp_path, fresh=True)
    assert sorted(done.parts) == sorted(parts)


def test_run__a_lost_fault_misses_the_target(done, tmp_path, capsys):
    done.doomed = set(list(registry.load("metrics").parts(True))[1:2])
    for _ in range(2):  # found again, it is still lost
        with pytest.raises(SystemExit, match="1"):
            command.run(["metrics"], folder=tmp_path)
        printed = capsys.readouterr().out
        assert "metrics: flip: was used" in printed
        assert "| 40 | 39 | 1 | NO |" in printed
        assert "targets not met: metrics" in printed


def test_run__all_of_them_into_the_page(done, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(command, "PAGE", page)
    command.run(None, folder=tmp_path / "kept", save=True)
    assert len(done.parts) == len(done_parts())
    text = page.read_text()
    assert text.startswith("before\n<!-- table -->\n| # |")
    assert text.endswith("|\n<!-- end -->\nafter\n")
    assert text.count("\n| ") == len(registry.every()) + 1


def test_run__an_unknown_name_is_refused(done, tmp_path):
    with pytest.raises(InputError, match="did you mean 'metrics'"):
        command.run(["metric"], folder=tmp_path)
    assert done.parts == []


def test_run__saves_nothing_but_the_whole(done, tmp_path):
    with pytest.raises(InputError, match="--save writes the whole table"):
        command.run(["metrics"], folder=tmp_path, save=True)
    with pytest.raises(InputError, match="--save writes the whole table"):
        command.run(None, folder=tmp_path, save=True, small=True)


def test_run__ctrl_c_keeps_what_is_done(done, tmp_path, monkeypatch, capsys):
    real = command._one

    def one(job, *rest):
        if len(done.parts) == 2:
            raise KeyboardInterrupt
        return real(job, *rest)

    monkeypatch.setattr(command, "_one", one)
    with pytest.raises(SystemExit, match="130"):
        command.run(["metrics"], folder=tmp_path, workers=1)
    assert "call it again to go on" in capsys.readouterr().out
    monkeypatch.setattr(command, "_one", real)
    command.run(["metrics"], folder=tmp_path)
    assert sorted(done.parts) == sorted(registry.load("metrics").parts(True))
