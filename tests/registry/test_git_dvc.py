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
  data: {cmd: cp raw/a made, deps: [raw], outs: [made]}
  train: {cmd: cp made model, deps: [made], outs: [model]}
"""


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def dvc(folder: Path, *words: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", message)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a repository `own` with tracked images and two stages, an upstream and a remote."""
    place = tmp_path_factory.mktemp("started")
    folder = place / "own"
    (folder / "raw").mkdir(parents=True)
    (folder / "raw" / "a").write_text("first\n")
    with pytest.MonkeyPatch.context() as patch:
        without_settings(patch)
        git(folder, "init", "--quiet", "--initial-branch=main")
        dvc(folder, "init", "--quiet")
        dvc(folder, "add", "--quiet", "raw")
        (folder / "dvc.yaml").write_text(STAGES)
        (folder / "params.yaml").write_text("seed: 1\n")
        dvc(folder, "remote", "add", "--quiet", "--default", "storage", "../storage")
        dvc(folder, "repro", "--quiet")
        commit(folder, "Start")
        git(folder, "init", "--quiet", "--bare", str(place / "bare"))
        git(folder, "remote", "add", "origin", "../bare")
        git(folder, "push", "--quiet", "--set-upstream", "origin", "main")
    return place


def without_settings(patch: pytest.MonkeyPatch) -> None:
    """Remove the git identity and all settings of git and DVC."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "DVC_"))]:
        patch.delenv(name)
    patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    patch.setenv("GIT_CONFIG_SYSTEM", os.devnull)


@pytest.fixture
def own(started: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with tracked images, two stages, an upstream and a remote, without a git identity."""
    without_settings(monkeypatch)
    shutil.copytree(started, tmp_path, symlinks=True, dirs_exist_ok=True)
    return tmp_path / "own"


def another(own: Path, tmp_path: Path) -> Path:
    """Return a second clone with the data."""
    folder = tmp_path / "colleague"
    git(own, "clone", "--quiet", "--branch", "main", str(tmp_path / "bare"), str(folder))
    return folder


def test_require_recordable__rejects_other_states(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    GitDvcRepo(own).require_recordable()
    (own / "params.yaml").write_text("seed: 2\n")
    with pytest.raises(InputError, match=r"params\.yaml: changed since the last commit"):
        GitDvcRepo(own).require_recordable()
    git(own, "checkout", "params.yaml")
    monkeypatch.setenv("DVC_STAGE", "train")
    with pytest.raises(InputError, match="DVC_STAGE=train"):
        GitDvcRepo(own).require_recordable()
    monkeypatch.delenv("DVC_STAGE")
    with pytest.raises(InputError, match="not a git repository with a commit"):
        GitDvcRepo(tmp_path).require_recordable()


def test_pull__local_and_upstream_changes_and_an_import(own: Path, tmp_path: Path) -> None:
    checkout, origin = GitDvcRepo(own), tmp_path / "origin"
    origin.mkdir()
    (origin / "x").write_text("1\n")
    dvc(own, "import-url", "--quiet", str(origin), "imported")
    commit(own, "Import")
    git(own, "push", "--quiet")
    dvc(own, "push", "--quiet")
    assert checkout.pull() == []

    (own / "raw" / "b").write_text("second\n")  # images put there by hand
    assert checkout.pull() == ["raw.dvc: local changes recorded"]
    assert checkout.pull() == []
    (origin / "y").write_text("2\n")
    assert checkout.pull() == ["imported.dvc: the source of the import changed"]
    assert (own / "imported" / "y").read_text() == "2\n"
    checkout.commit_and_push("model-1", "Accept")

    colleague = another(own, tmp_path)
    before = git(own, "rev-parse", "--short=7", "HEAD").strip()
    dvc(colleague, "pull", "--quiet")
    assert (colleague / "raw" / "b").read_text() == "second\n"
    (colleague / "raw" / "c").write_text("third\n")
    dvc(colleague, "add", "--quiet", "raw")
    dvc(colleague, "push", "--quiet")
    commit(colleague, "More images")
    git(colleague, "push", "--quiet")
    told = checkout.pull()
    assert told == [f"commits {before} to {git(own, 'rev-parse', '--short=7', 'HEAD').strip()}"]
    assert (own / "raw" / "c").read_text() == "third\n"
    assert checkout.changed_files(before) == ["raw.dvc"]


def test_commit_and_push__rebases_on_concurrent_commits(own: Path, tmp_path: Path) -> None:
    colleague = another(own, tmp_path)
    (colleague / "notes").write_text("hello\n")
    commit(colleague, "Note")
    git(colleague, "push", "--quiet")
    (own / "raw" / "a").write_text("other\n")
    checkout = GitDvcRepo(own)
    dvc(own, "commit", "--force", "--quiet", "raw.dvc")
    for made in ("made", "model"):
        (own / made).unlink()
        (own / made).write_text("other\n")
    checkout.commit_and_push("model-2", "Accept the second")
    assert git(own, "status", "--porcelain") == ""
    assert git(own, "log", "--format=%s %an", "-2").splitlines() == ["Accept the second MedTune", "Note a"]
    assert git(colleague, "ls-remote", "--tags", "origin", "model-2")
    assert json.loads(dvc(own, "status", "--json")) == {}
    assert checkout.read_revision("model-2", "model") == "other\n"
    assert "in sync" in dvc(own, "status", "--cloud")


def test_commit_and_push__without_upstream_and_remote(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(own, "branch", "--unset-upstream")
    dvc(own, "config", "--unset", "core.remote")
    GitDvcRepo(own).commit_and_push("model-3", "Accept")
    assert "no DVC remote" in capsys.readouterr().out
    assert git(own, "tag").split() == ["model-3"]


def test_failed_command__error_is_one_line(own: Path) -> None:
    with pytest.raises(CommandError, match=r"^git rev-parse nowhere: "):
        GitDvcRepo(own).git("rev-parse", "nowhere")
    with pytest.raises(CommandError, match="nowhere"):
        GitDvcRepo(own).read_revision("nowhere", "model")


def test_read_revision__missing_content_is_an_error(own: Path, tmp_path: Path) -> None:
    git(own, "-c", "user.name=a", "-c", "user.email=a@b", "tag", "-a", "old", "-m", "old")
    for folder in (own / ".dvc" / "cache", tmp_path / "storage"):
        subprocess.run(["rm", "-rf", str(folder)], check=True)
    with pytest.raises(CommandError):
        GitDvcRepo(own).read_revision("old", "model")
