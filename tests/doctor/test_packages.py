"""Checks of the installed packages and the safe minimum versions."""

from pathlib import Path

import pytest

from medtune.doctor import packages


def test_locked__reads_versions_and_markers(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    lock.write_text(
        "# made by uv\none==1.0 \\\n    --hash=sha256:00\n"
        "Two.x==2.1 ; python_full_version >= '3.11' \\\n    --hash=sha256:00\n"
        "three==3 ; sys_platform == 'nowhere' \\\n    --hash=sha256:00\n"
    )
    assert packages.read_lock(lock) == {"one": "1.0", "Two.x": "2.1"}


def test_packages__environment_matches_the_lock(make_job, tmp_path: Path) -> None:
    result = packages.check_packages(make_job(tmp_path))
    assert result.state == "ok", result
    assert int(result.message.split()[0]) > 100


@pytest.mark.parametrize(
    ("text", "state", "said"),
    [
        ("numpy==0.0.1 \\\n", "warning", "(lock: 0.0.1)"),
        ("no-such-package==1 \\\n", "wrong", "1 of 1 packages are missing: no-such-package"),
    ],
)
def test_packages__different_or_missing(
    make_job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, state: str, said: str
) -> None:
    (tmp_path / "a.lock").write_text(text)
    monkeypatch.setattr(packages, "LOCK_FILE", tmp_path / "a.lock")
    result = packages.check_packages(make_job(tmp_path))
    assert (result.state, result.fix) == (state, "make setup")
    assert said in result.message


def test_packages__unsafe_version(make_job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "MIN_VERSIONS", {"numpy": "999"})
    assert packages.check_packages(make_job(tmp_path)).state == "wrong"


def test_packages__missing_lock_is_a_problem_only_in_a_clone(
    make_job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "LOCK_FILE", tmp_path / "missing.lock")
    assert packages.check_packages(make_job(tmp_path)).message == "missing.lock is missing"
    monkeypatch.setattr(packages, "PROJECT", tmp_path)
    assert packages.check_packages(make_job(tmp_path)).state == "ok"
