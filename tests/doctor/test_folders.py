"""Tests of the checks of the output folders: existing file, missing permission, full disk."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from medtune.config.project import PROJECT
from medtune.doctor import folders


def test_write__file_at_the_path_of_a_folder_is_an_error(make_context, tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file")
    results = {result.label: result for result in folders.check_write(make_context(tmp_path))}
    assert results["write artifacts"].state == "wrong"
    assert "artifacts" in results["write artifacts"].message
    assert "--out DIR" in results["write artifacts"].fix
    assert results["write cache"].state == "ok"


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not restrict root")
def test_write__missing_permission_is_an_error(make_context, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o500)
    results = {result.label: result for result in folders.check_write(make_context(tmp_path))}
    assert "give this user write permission" in results["write cache"].fix


def test_write__missing_folder_is_not_created(make_context, tmp_path: Path) -> None:
    context = make_context(tmp_path, f"handoff.target={tmp_path}/published")  # the default is in the checkout
    assert {result.state for result in folders.check_write(context)} == {"ok"}
    assert list(tmp_path.iterdir()) == []


def test_check_writable__partial_write_is_an_error(tmp_path: Path) -> None:
    # With a limit on the file size, the kernel rejects larger writes like on a full disk.
    code = "from pathlib import Path; from medtune.doctor.folders import check_writable; "
    code += f"check_writable(Path({str(tmp_path)!r}))"
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)),
    )
    assert process.returncode == 1
    assert "File too large" in process.stderr
    assert list(tmp_path.iterdir()) == []


def test_disk__insufficient_space_is_an_error(make_context, tmp_path: Path) -> None:
    context = make_context(tmp_path)
    assert {result.state for result in folders.check_disk(context)} <= {"ok", "warning"}
    context.require_space(context.paths.cache, 1e18)
    (result,) = [disk for disk in folders.check_disk(context) if "cache" in disk.message]
    assert result.state == "wrong"
    assert "1e+06 TB needed (estimate)" in result.message
    assert "free space" in result.fix
