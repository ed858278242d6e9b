import subprocess
import sys
import time
from pathlib import Path

import pytest

from medtune.config.errors import InputError
from medtune.runtime.lock import output_lock
from medtune.runtime.paths import RunPaths

PROJECT = Path(__file__).resolve().parent.parent.parent
HOLD = "import sys; from medtune.runtime.lock import output_lock; from medtune.runtime.paths import RunPaths\nwith output_lock(RunPaths.from_env(sys.argv[1])): print('held', flush=True); sys.stdin.read()"  # noqa: E501


def other_run(out: Path) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", HOLD, str(out)], cwd=PROJECT, stdin=pipe, stdout=pipe, text=True)


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_lock__second_run_waits_with_a_message(tmp_path: Path) -> None:
    with output_lock(RunPaths.from_env(tmp_path)):
        second = other_run(tmp_path)
        assert line(second) == f"waiting for another run that writes to {tmp_path / 'artifacts'}"
        time.sleep(0.2)
        assert second.poll() is None
    assert line(second) == "held"
    second.communicate()


def test_lock__killed_process_releases_it(tmp_path: Path) -> None:
    first = other_run(tmp_path)
    assert line(first) == "held"
    first.kill()
    first.wait()
    with output_lock(RunPaths.from_env(tmp_path)):
        pass


def test_lock__folder_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="artifacts: cannot be written"), output_lock(RunPaths.from_env(tmp_path)):
        pass
