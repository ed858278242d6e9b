"""Tests that a release tag names the version in pyproject.toml and that CHANGELOG.md describes it."""

import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from tests.requirements.conftest import load

PROJECT = Path(__file__).resolve().parents[2]
CHANGELOG = (
    "# Changelog\n\n## [Unreleased]\n- Next.\n\n## [1.2.0] - 2026-01-31\n\n### Added\n- This.\n\n## [1.1.0]\n- Old.\n"
)


@pytest.fixture(scope="module")
def release() -> ModuleType:
    return load("release")


def test_release_notes__are_the_section_of_the_version(release: ModuleType) -> None:
    assert release.release_notes(CHANGELOG, "1.2.0") == "### Added\n- This."
    assert release.release_notes(CHANGELOG, "1.1.0") == "- Old."
    assert release.release_notes(CHANGELOG, "1.2") is None
    assert release.release_notes("## [1.2.0] - unreleased\n- This.\n", "1.2.0") is None


@pytest.mark.parametrize(
    ("tag", "version", "expected"),
    [
        ("v1.2.0", "1.2.0", None),
        ("1.2.0", "1.2.0", "TAG=1.2.0: pyproject.toml has version 1.2.0. "),
        ("v1.2.0", "1.3.0.dev0", "TAG=v1.2.0: pyproject.toml has version 1.3.0.dev0. "),
        ("v1.3.0", "1.3.0", "TAG=v1.3.0: CHANGELOG.md does not describe 1.3.0. "),
    ],
)
def test_problem__tag_version_and_changelog_agree(
    release: ModuleType, tag: str, version: str, expected: str | None
) -> None:
    message = release.problem(tag, version, CHANGELOG)
    assert message is None if expected is None else message.startswith(expected)


def test_tags__of_this_revision_name_the_version(release: ModuleType) -> None:
    command = ["git", "tag", "--points-at", "HEAD", "--list", "v*"]
    process = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    if process.returncode != 0:
        pytest.skip("not a git checkout")
    version = release.project_version((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert [tag for tag in process.stdout.split() if tag != f"v{version}"] == []
