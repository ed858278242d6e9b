"""Progress of long operations: lines at the start, in between and at the end, and none on other processes."""

import io
import time
from contextlib import redirect_stdout

import pytest

from medtune.runtime import progress


def test_running__shows_lines_also_if_the_block_redirects_stdout(capsys, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL_S", 0.01)
    with progress.running("export"), redirect_stdout(io.StringIO()):
        time.sleep(0.1)
    first, *between, last = capsys.readouterr().out.splitlines()
    assert first == "export"
    assert "export: running for 0 s" in between
    assert last.startswith("export: done in 0.")


def test_running__does_not_report_a_failed_block_as_done(capsys):
    with pytest.raises(ValueError, match="broken"), progress.running("export"):
        raise ValueError("broken")
    assert capsys.readouterr().out == "export\n"


def test_running__is_silent_in_other_processes(capsys, monkeypatch):
    monkeypatch.setattr(progress.distributed, "rank", lambda: 1)
    with progress.running("export"):
        pass
    assert capsys.readouterr().out == ""
