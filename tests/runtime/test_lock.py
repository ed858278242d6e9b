import subprocess
import sys
import time
from pathlib import Path

import pytest

from medtune.config.errors import InputError
from medtune.runtime.lock import output_lock
from medtune.runtime.paths import RunPaths

PROJECT = Path(__file__).resolve().parent.parent.parent
HOLD = "import sys; from medtune.runtime.lock import output_lock; from medtune.runtime.paths import RunPaths\nwith output_lock(RunPaths.from_env(sys.argv[1])): print('locked', flush=True); sys.stdin.read()"  # noqa: E501


def start_run(out: Path) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", HOLD, str(out)], cwd=PROJECT, stdin=pipe, stdout=pipe, text=True)


def read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_lock__second_run_waits_with_a_message(tmp_path: Path) -> None:
    with output_lock(RunPaths.from_env(tmp_path)):
        second = start_run(tmp_path)
        assert read_line(second) == f"waiting for another run that writes to {tmp_path / 'artifacts'}"
        time.sleep(0.2)
        assert second.poll() is None
    assert read_line(second) == "locked"
    second.communicate()


def test_lock__is_released_by_a_killed_process(tmp_path: Path) -> None:
    first = start_run(tmp_path)
    assert read_line(first) == "locked"
    first.kill()
    first.wait()
    with output_lock(RunPaths.from_env(tmp_path)):
        pass


def test_lock__unwritable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="artifacts: cannot be written"), output_lock(RunPaths.from_env(tmp_path)):
        pass
