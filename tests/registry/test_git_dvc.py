"""Git and DVC operations in small repositories."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medtune.config.errors import InputError
from medtune.registry.git_dvc import CommandError, GitDvcRepo

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("versioning")]

STAGES = """stages:
  data: {cmd: cp raw/a prepared, deps: [raw], outs: [prepared]}
  train: {cmd: cp prepared model, deps: [prepared], outs: [model]}
"""


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def dvc(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", message)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a repository `clone` with tracked images and two stages, an upstream and a remote."""
    parent = tmp_path_factory.mktemp("template")
    clone = parent / "clone"
    (clone / "raw").mkdir(parents=True)
    (clone / "raw" / "a").write_text("first\n")
    with pytest.MonkeyPatch.context() as patch:
        without_settings(patch)
        git(clone, "init", "--quiet", "--initial-branch=main")
        dvc(clone, "init", "--quiet")
        dvc(clone, "add", "--quiet", "raw")
        (clone / "dvc.yaml").write_text(STAGES)
        (clone / "params.yaml").write_text("seed: 1\n")
        dvc(clone, "remote", "add", "--quiet", "--default", "storage", "../storage")
        dvc(clone, "repro", "--quiet")
        commit(clone, "Start")
        git(clone, "init", "--quiet", "--bare", str(parent / "bare"))
        git(clone, "remote", "add", "origin", "../bare")
        git(clone, "push", "--quiet", "--set-upstream", "origin", "main")
    return parent


def without_settings(patch: pytest.MonkeyPatch) -> None:
    """Remove the git identity and all settings of git and DVC."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "DVC_"))]:
        patch.delenv(name)
    patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    patch.setenv("GIT_CONFIG_SYSTEM", os.devnull)


@pytest.fixture
def clone(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with tracked images, two stages, an upstream and a remote, without a git identity."""
    without_settings(monkeypatch)
    shutil.copytree(template, tmp_path, symlinks=True, dirs_exist_ok=True)
    return tmp_path / "clone"


def clone_of_colleague(clone: Path, tmp_path: Path) -> Path:
    """Create a second clone of the upstream."""
    folder = tmp_path / "colleague"
    git(clone, "clone", "--quiet", "--branch", "main", str(tmp_path / "bare"), str(folder))
    return folder


def test_require_recordable__rejects_other_states(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    GitDvcRepo(clone).require_recordable()
    (clone / "params.yaml").write_text("seed: 2\n")
    with pytest.raises(InputError, match=r"params\.yaml: changed since the last commit"):
        GitDvcRepo(clone).require_recordable()
    git(clone, "checkout", "params.yaml")
    monkeypatch.setenv("DVC_STAGE", "train")
    with pytest.raises(InputError, match="DVC_STAGE=train"):
        GitDvcRepo(clone).require_recordable()
    monkeypatch.delenv("DVC_STAGE")
    with pytest.raises(InputError, match="not a git repository with a commit"):
        GitDvcRepo(tmp_path).require_recordable()


def test_pull__records_local_changes_and_fetches_upstream_changes(clone: Path, tmp_path: Path) -> None:
    repo, origin = GitDvcRepo(clone), tmp_path / "origin"
    origin.mkdir()
    (origin / "x").write_text("1\n")
    dvc(clone, "import-url", "--quiet", str(origin), "imported")
    commit(clone, "Import")
    git(clone, "push", "--quiet")
    dvc(clone, "push", "--quiet")
    assert repo.pull() == []

    (clone / "raw" / "b").write_text("second\n")  # images added by hand
    assert repo.pull() == ["raw.dvc: local changes recorded"]
    assert repo.pull() == []
    (origin / "y").write_text("2\n")
    assert repo.pull() == ["imported.dvc: the source of the import changed"]
    assert (clone / "imported" / "y").read_text() == "2\n"
    repo.commit_and_push("model-1", "Accept")

    colleague = clone_of_colleague(clone, tmp_path)
    before = git(clone, "rev-parse", "--short=7", "HEAD").strip()
    dvc(colleague, "pull", "--quiet")
    assert (colleague / "raw" / "b").read_text() == "second\n"
    (colleague / "raw" / "c").write_text("third\n")
    dvc(colleague, "add", "--quiet", "raw")
    dvc(colleague, "push", "--quiet")
    commit(colleague, "More images")
    git(colleague, "push", "--quiet")
    messages = repo.pull()
    assert messages == [f"commits {before} to {git(clone, 'rev-parse', '--short=7', 'HEAD').strip()}"]
    assert (clone / "raw" / "c").read_text() == "third\n"
    assert repo.changed_files(before) == ["raw.dvc"]


def test_commit_and_push__rebases_on_concurrent_commits(clone: Path, tmp_path: Path) -> None:
    colleague = clone_of_colleague(clone, tmp_path)
    (colleague / "notes").write_text("hello\n")
    commit(colleague, "Note")
    git(colleague, "push", "--quiet")
    (clone / "raw" / "a").write_text("other\n")
    repo = GitDvcRepo(clone)
    dvc(clone, "commit", "--force", "--quiet", "raw.dvc")
    for output in ("prepared", "model"):
        (clone / output).unlink()
        (clone / output).write_text("other\n")
    repo.commit_and_push("model-2", "Accept the second")
    assert git(clone, "status", "--porcelain") == ""
    assert git(clone, "log", "--format=%s %an", "-2").splitlines() == ["Accept the second MedTune", "Note a"]
    assert git(colleague, "ls-remote", "--tags", "origin", "model-2")
    assert json.loads(dvc(clone, "status", "--json")) == {}
    assert repo.read_revision("model-2", "model") == "other\n"
    assert "in sync" in dvc(clone, "status", "--cloud")


def test_commit_and_push__works_without_upstream_and_remote(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(clone, "branch", "--unset-upstream")
    dvc(clone, "config", "--unset", "core.remote")
    GitDvcRepo(clone).commit_and_push("model-3", "Accept")
    assert "no DVC remote" in capsys.readouterr().out
    assert git(clone, "tag").split() == ["model-3"]


def test_failed_command__gives_a_one_line_error(clone: Path) -> None:
    with pytest.raises(CommandError, match=r"^git rev-parse nowhere: "):
        GitDvcRepo(clone).git("rev-parse", "nowhere")
    with pytest.raises(CommandError, match="nowhere"):
        GitDvcRepo(clone).read_revision("nowhere", "model")


def test_read_revision__missing_content_is_an_error(clone: Path, tmp_path: Path) -> None:
    git(clone, "-c", "user.name=a", "-c", "user.email=a@b", "tag", "-a", "old", "-m", "old")
    for folder in (clone / ".dvc" / "cache", tmp_path / "storage"):
        subprocess.run(["rm", "-rf", str(folder)], check=True)
    with pytest.raises(CommandError):
        GitDvcRepo(clone).read_revision("old", "model")
