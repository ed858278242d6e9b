"""`medtune status` for the steps of a small run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from medtune.cli.main import call
from medtune.config.project import PROJECT

SMALL = """
schedule: staged
data: {image_size: 32, patients: 24, images_per_patient: 3, split: {folds: 3, allow_missing_classes: true}}
model: {weights: none, backbone_args: {img_size: 32, depth: 1}, head: {kind: linear}}
frozen: {epochs: 1, feature_views: 1}
tracking: {mode: disabled}
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests, so that the network is checked once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def words(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.setenv("MEDTUNE_CACHE", str(cache))
    monkeypatch.setenv("MEDTUNE_DEVICE", "cpu")
    return ["--params", str(tmp_path / "small.yaml"), "--out", str(tmp_path)]


TRAINED = [f"{stage} fold {fold}" for fold in range(3) for stage in ("frozen", "finetune")]


def steps(words: list[str], capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, str]:
    capsys.readouterr()
    assert call(["status", *words, *more, "--json"]) == 0
    return {step["name"]: step["reason"] for step in json.loads(capsys.readouterr().out)["steps"]}


def test_status__follows_a_run_and_names_what_changed(words, capsys):
    found = steps(words, capsys)
    assert list(found) == ["data", *TRAINED, "evaluate", "export"]
    assert found["data"].startswith("would run: ")
    assert call(["data", *words]) == 0
    assert call(["stage", "frozen", *words]) == 0
    found = steps(words, capsys)
    assert found["data"] == "prepared: 72 images"
    assert found["frozen fold 1"].startswith("cached (key ")
    assert found["finetune fold 1"] == "would run: no result yet"
    assert found["evaluate"] == found["export"] == "after finetune fold 0"
    assert steps(words, capsys, "--set", "frozen.lr=0.5")["frozen fold 1"] == "would run: frozen.lr changed"
    assert steps(words, capsys, "--set", "seed=2")["frozen fold 1"] == "would run: seed changed"
    assert steps(words, capsys, "--set", "data.image_size=48")["data"] == "would run: data.image_size changed"


def test_status__imports_no_torch(words):
    code = f"""
import json, sys
from medtune.cli.main import call
assert call(["status", *{words!r}]) == 0
print(json.dumps(sorted(sys.modules.keys() & {{"torch", "timm", "prefect", "wandb", "dvc"}})))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_data__json_is_the_only_output_on_stdout(words, capsys):
    assert call(["data", *words, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["n_kept"] == 72
    assert "split by patient" in captured.err
