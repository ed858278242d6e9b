"""Every benchmark is run, saved and summed up; one that breaks does not stop the others."""

from types import SimpleNamespace

import pytest

from benchmarks import results, suite
from benchmarks.results import Row
from medtune.config.errors import InputError
from medtune.config.project import PROJECT


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """Commands that were run; `tracking` breaks."""
    given = []
    monkeypatch.setattr(results, "RESULTS", tmp_path)

    def run(words, **options):
        name = words[2].removeprefix("benchmarks.")
        given.append((name, words[-1]))
        results.finish(name, [Row("this", 2.0, "s", at_most=1)], save=True, show=False)
        return SimpleNamespace(returncode=int(name == "tracking"))

    monkeypatch.setattr(suite, "subprocess", SimpleNamespace(run=run))
    return given


def test_run__all_of_them(ran, capsys):
    with pytest.raises(SystemExit):
        suite.run()
    assert ran == [(name, "--save") for name in suite.COMMANDS]
    printed = capsys.readouterr()
    assert f"{len(suite.COMMANDS) - 1} targets missed: this (<= 1 s); this" in printed.out
    assert printed.err == "error: tracking failed\n"


def test_run__some_of_them(ran, capsys):
    suite.run(["cdtm"])
    assert ran == [("cdtm", "--save")]
    assert "1 targets missed" in capsys.readouterr().out


def test_run__an_unknown_name_is_refused(ran):
    with pytest.raises(InputError, match="did you mean 'stage1'"):
        suite.run(["stage2"])


def test_commands__are_files_that_the_page_names():
    page = (PROJECT / "docs" / "performance.md").read_text(encoding="utf-8")
    for name in suite.COMMANDS:
        assert (PROJECT / "benchmarks" / f"{name}.py").is_file()
        assert f"python -m benchmarks.{name}" in page
