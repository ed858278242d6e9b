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
    """Return a common cache, so that the network is checked once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def arguments(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.setenv("MEDTUNE_CACHE", str(cache))
    monkeypatch.setenv("MEDTUNE_DEVICE", "cpu")
    return ["--params", str(tmp_path / "small.yaml"), "--out", str(tmp_path)]


TRAINED = [f"{stage} fold {fold}" for fold in range(3) for stage in ("frozen", "finetune")]


def steps(arguments: list[str], capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, str]:
    capsys.readouterr()
    assert call(["status", *arguments, *options, "--json"]) == 0
    return {step["name"]: step["reason"] for step in json.loads(capsys.readouterr().out)["steps"]}


def test_status__follows_a_run_and_names_the_changed_keys(arguments, capsys):
    reasons = steps(arguments, capsys)
    assert list(reasons) == ["data", *TRAINED, "evaluate", "export"]
    assert reasons["data"].startswith("would run: ")
    assert call(["data", *arguments]) == 0
    assert call(["stage", "frozen", *arguments]) == 0
    reasons = steps(arguments, capsys)
    assert reasons["data"] == "prepared: 72 images"
    assert reasons["frozen fold 1"].startswith("cached (key ")
    assert reasons["finetune fold 1"] == "would run: no result yet"
    assert reasons["evaluate"] == reasons["export"] == "would run after finetune fold 0"
    assert steps(arguments, capsys, "--set", "frozen.lr=0.5")["frozen fold 1"] == "would run: frozen.lr changed"
    assert steps(arguments, capsys, "--set", "seed=2")["frozen fold 1"] == "would run: seed changed"
    assert steps(arguments, capsys, "--set", "data.image_size=48")["data"] == "would run: data.image_size changed"


def test_status__imports_no_torch(arguments):
    code = f"""
import json, sys
from medtune.cli.main import call
assert call(["status", *{arguments!r}]) == 0
print(json.dumps(sorted(sys.modules.keys() & {{"torch", "timm", "prefect", "wandb", "dvc"}})))"""
    process = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert json.loads(process.stdout.splitlines()[-1]) == []


def test_data__json_is_the_only_output_on_stdout(arguments, capsys):
    assert call(["data", *arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["n_kept"] == 72
    assert "split by patient" in captured.err
