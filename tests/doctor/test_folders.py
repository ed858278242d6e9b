"""Where a run writes: what is in the way, may not be written, or is full."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from medtune.config.project import PROJECT
from medtune.doctor import folders


def test_write__a_file_in_the_way(make_job, tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file where the folder should be")
    found = {one.label: one for one in folders.check_write(make_job(tmp_path))}
    assert found["write artifacts"].state == "wrong"
    assert "artifacts" in found["write artifacts"].message
    assert "--out DIR" in found["write artifacts"].fix
    assert found["write cache"].state == "ok"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write wherever permissions forbid it")
def test_write__no_right_to(make_job, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o500)
    found = {one.label: one for one in folders.check_write(make_job(tmp_path))}
    assert "give this user write permission" in found["write cache"].fix


def test_write__a_folder_that_is_not_there_is_not_made(make_job, tmp_path: Path) -> None:
    asked = make_job(tmp_path, f"handoff.target={tmp_path}/published")  # the default lies in the checkout
    assert {one.state for one in folders.check_write(asked)} == {"ok"}
    assert list(tmp_path.iterdir()) == []


def test_probe__a_write_that_ends_early_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the size of files needs no mount: the kernel refuses what is above it, as it does on a full disk.
    code = "from pathlib import Path; from medtune.doctor.folders import check_writable; "
    code += f"check_writable(Path({str(tmp_path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)),
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_disk__less_than_the_run_needs(make_job, tmp_path: Path) -> None:
    asked = make_job(tmp_path)
    assert {one.state for one in folders.check_disk(asked)} <= {"ok", "warning"}
    asked.require_space(asked.paths.cache, 1e18)
    (found,) = [one for one in folders.check_disk(asked) if "cache" in one.message]
    assert found.state == "wrong"
    assert "1e+06 TB needed (estimate)" in found.message
    assert "free space" in found.fix
