"""Retraining of a segmentation: two models, of which the second is compared by Dice with the first."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from medtune.cli import project_files
from tests.pipeline.conftest import PROJECT, Checkout

# Both runs need about 35 CPU-seconds, mostly for four exports. test_gate_volumes.py tests the comparison in make test.
pytestmark = [pytest.mark.nightly, pytest.mark.slow, pytest.mark.timeout(600)]

SETTINGS = {
    "task": {"kind": "segmentation"},
    "schedule": "frozen",
    "data": {"source": "phantom", "root": "data", "patients": 9, "size": 16, "patch": [16, 16, 16],
             "split": {"protocol": "patient", "folds": 3, "test_fold": "all", "val_fold": None}},
    "model": {"backbone": "none", "weights": "none", "backbone_args": {}, "head": {"kind": "decoder", "width": 4},
              "peft": {"method": "none"}},
    # This learning rate has no effect, so that retraining can improve the model.
    "frozen": {"epochs": 1, "min_steps": 1, "batch_size": 4, "lr": {"decoder": 1.0e-9}, "monitor": "dice"},
    "finetune": {"monitor": "dice"},
    "export": {"precisions": ["fp32"], "parity_images": 2, "batch_sizes": [1]},
    "gate": {"metric": "dice", "min_patients_per_class": 2},
    "tracking": {"mode": "disabled"},
}  # fmt: skip
# One process for both runs, because importing torch takes longer than training.
RETRAIN_TWICE = """
import subprocess
from medtune.cli.main import call
from medtune.flows import retrain_steps

retrain_steps.run(retrain_steps.direct())
assert call(["params", "set", "frozen.epochs=2", "frozen.min_steps=40", "frozen.lr={decoder: 1.0e-2}"]) == 0
subprocess.run(["git", "commit", "--all", "--quiet", "--message", "Train longer"], check=True)
retrain_steps.run(retrain_steps.direct())
"""


@pytest.fixture
def project(tmp_path: Path) -> Checkout:
    """Return a project with git and DVC, without a remote."""
    checkout = Checkout(tmp_path / "project")
    checkout.folder.mkdir()
    project_files.write(checkout.folder, project_files.params_tree(SETTINGS), with_dvc=True)
    for arguments in (
        ("git", "init", "--quiet"),
        ("git", "config", "user.email", "test@example.org"),
        ("git", "config", "user.name", "test"),
        ("dvc", "init", "--quiet"),
        ("git", "add", "--all"),
        ("git", "commit", "--quiet", "--message", "Start"),
    ):
        checkout.run(*arguments)
    return checkout


def test_retrain__second_model_is_compared_by_dice(project: Checkout) -> None:
    process = subprocess.run(
        [sys.executable, "-c", RETRAIN_TWICE],
        cwd=project.folder,
        env={**project.environment(), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "retrain: promoted: no champion yet" in process.stdout
    first, second = (
        json.loads(line) for line in (project.folder / "published" / "history.jsonl").read_text().splitlines()[1:]
    )
    assert second["champion"] == first["challenger"]
    assert (second["metric"], second["n_patients"]) == ("dice", 9)
    assert second["decision"] == "promoted", second
    assert second["difference"]["lo"] > 0
    current = json.loads((project.folder / "published" / "current" / "bundle.json").read_text())
    assert current["gate"]["champion"] == first["challenger"]
    assert current["task"]["kind"] == "segmentation"
    folds = (project.folder / "data" / "folds.csv").read_text().splitlines()
    assert len(folds) == 2 + 9
