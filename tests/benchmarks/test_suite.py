"""Benchmark suite: every benchmark runs and is saved; a failing one does not stop the others."""

from types import SimpleNamespace

import pytest

from benchmarks import results, suite
from benchmarks.results import Row
from medtune.config.errors import InputError
from medtune.config.project import PROJECT


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Return the commands that ran; `tracking` fails."""
    recorded = []
    monkeypatch.setattr(results, "RESULTS", tmp_path)

    def run(command, **options):
        name = command[2].removeprefix("benchmarks.")
        recorded.append((name, command[-1]))
        results.finish(name, [Row("this", 2.0, "s", at_most=1)], save=True, show=False)
        return SimpleNamespace(returncode=int(name == "tracking"))

    monkeypatch.setattr(suite, "subprocess", SimpleNamespace(run=run))
    return recorded


def test_run__all_benchmarks(commands, capsys):
    with pytest.raises(SystemExit):
        suite.run()
    assert commands == [(name, "--save") for name in suite.COMMANDS]
    printed = capsys.readouterr()
    assert f"{len(suite.COMMANDS) - 1} targets missed: this (<= 1 s); this" in printed.out
    assert printed.err == "error: tracking failed\n"


def test_run__selected_benchmarks(commands, capsys):
    suite.run(["cdtm"])
    assert commands == [("cdtm", "--save")]
    assert "1 targets missed" in capsys.readouterr().out


def test_run__rejects_an_unknown_name(commands):
    with pytest.raises(InputError, match="did you mean 'stage1'"):
        suite.run(["stage2"])


def test_commands__are_documented_files():
    page = (PROJECT / "docs" / "performance.md").read_text(encoding="utf-8")
    for name in suite.COMMANDS:
        assert (PROJECT / "benchmarks" / f"{name}.py").is_file()
        assert f"python -m benchmarks.{name}" in page
