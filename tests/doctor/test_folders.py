"""Checks of the output folders: existing file, missing permission, full disk."""

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
    results = {result.label: result for result in folders.check_write(make_job(tmp_path))}
    assert results["write artifacts"].state == "wrong"
    assert "artifacts" in results["write artifacts"].message
    assert "--out DIR" in results["write artifacts"].fix
    assert results["write cache"].state == "ok"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write wherever permissions forbid it")
def test_write__no_permission(make_job, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o500)
    results = {result.label: result for result in folders.check_write(make_job(tmp_path))}
    assert "give this user write permission" in results["write cache"].fix


def test_write__missing_folder_is_not_created(make_job, tmp_path: Path) -> None:
    context = make_job(tmp_path, f"handoff.target={tmp_path}/published")  # the default lies in the checkout
    assert {result.state for result in folders.check_write(context)} == {"ok"}
    assert list(tmp_path.iterdir()) == []


def test_check_writable__partial_write_is_an_error(tmp_path: Path) -> None:
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


def test_disk__too_little_space(make_job, tmp_path: Path) -> None:
    context = make_job(tmp_path)
    assert {result.state for result in folders.check_disk(context)} <= {"ok", "warning"}
    context.require_space(context.paths.cache, 1e18)
    (result,) = [one for one in folders.check_disk(context) if "cache" in one.message]
    assert result.state == "wrong"
    assert "1e+06 TB needed (estimate)" in result.message
    assert "free space" in result.fix
