"""Copies of the checkout with small settings in params.yaml, for tests with real DVC, Prefect and stages."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

PROJECT = Path(__file__).resolve().parent.parent.parent
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".cache", "artifacts", "prepared", "__pycache__", ".*_cache", "docs"
)
HALF = "{mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}"
SMALL = """
schedule: staged
data: {labels: binary, image_size: 32, patients: 20, images_per_patient: 2, split: {folds: 3, test_fold: 1}}
model: {head: {kind: cdtm}, weights: WEIGHTS, backbone_args: {img_size: 32, depth: 2}, normalization: HALF}
frozen: {epochs: 2, feature_views: 1, batch_size: 8}
finetune: {epochs: 2, batch_size: 8}
export: {precisions: [fp32], parity_images: 8, batch_sizes: [1, 2]}
"""
CLASSES = ("benign", "malignant")
# Training with these learning rates has no effect, so that retraining can improve the model.
SLIDES = """
data: {source: folder, root: data/slides, csv: data.csv, positive: malignant}
frozen: {lr: 1.0e-9}
finetune: {lr: 1.0e-9}
"""


@dataclass(frozen=True)
class Checkout:
    """A copy of the checkout with methods that run commands in it."""

    folder: Path

    def environment(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "WANDB_", "DVC_"))
        }
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # the copy is compiled only once
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return {**inherited, "PATH": path, "MEDTUNE_DEVICE": "cpu", "MEDTUNE_CACHE": "", "PYTHONUNBUFFERED": "1"}

    def start(self, arguments: Sequence[str], **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            arguments,
            cwd=self.folder,
            env={**self.environment(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A shell makes background processes ignore Ctrl-C, and child processes inherit this.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *arguments: str, **environment: str) -> str:
        """Run a command, which must succeed, and return its output."""
        process = self.start(arguments, **environment)
        printed, _ = process.communicate(timeout=400)
        assert process.returncode == 0, printed
        return printed

    def train(self, *arguments: str, **environment: str) -> str:
        return self.run("python", "-m", "medtune", "train", *arguments, **environment)


@dataclass(frozen=True)
class Trained:
    """A checkout in which `dvc repro` trained on images that DVC tracks.

    Attributes:
        checkout: the checkout, for the single module that continues in it.
        copy: an unchanged copy for all other modules.
        printed: output of `dvc repro`.
    """

    checkout: Checkout
    copy: Path
    printed: str


def patient_id(number: int) -> str:
    return f"patient{number:02d}"


def draw_slides(folder: Path, patients: range) -> None:
    """Add three images per patient to the folder and its table; benign images are blue, malignant images are red."""
    folder.mkdir(exist_ok=True)
    table = folder / "data.csv"
    rows = list(csv.DictReader(table.open())) if table.exists() else []
    for patient in patients:
        malignant = patient % 2
        for number in range(3):
            noise = np.random.default_rng(patient * 10 + number).integers(0, 90, (40, 40, 3))
            noise[..., 0 if malignant else 2] += 150
            name = f"{patient_id(patient)}_{number}.png"
            Image.fromarray(noise.astype(np.uint8)).save(folder / name)
            rows.append({"path": name, "label": CLASSES[malignant], "group": patient_id(patient)})
    write_table(table, rows)


def write_table(table: Path, rows: list[dict[str, str]]) -> None:
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ("path", "label", "group"), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _checkout(folder: Path) -> Checkout:
    """Copy the checkout to a new folder and apply the small settings."""
    import timm
    import torch
    from safetensors.torch import save_file

    shutil.copytree(PROJECT, folder / "medtune", symlinks=True, ignore=NOT_COPIED)
    copy = Checkout(folder / "medtune")
    torch.manual_seed(0)
    weights = timm.create_model("test_vit", num_classes=0, img_size=32, depth=2).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "weights.safetensors")
    (folder / "small.yaml").write_text(
        SMALL.replace("WEIGHTS", str(folder / "weights.safetensors")).replace("HALF", HALF)
    )
    copy.run("git", "init", "--quiet")
    copy.run("python", "-m", "medtune", "params", "apply", str(folder / "small.yaml"))
    return copy


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Return a checkout in which no command has run."""
    return _checkout(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return the trained checkout of all test processes; the first process that needs it trains it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"
    checkout, copy, printed = Checkout(folder / "medtune"), folder / "copy", folder / "printed.txt"
    with FileLock(f"{folder}.lock"):
        if not printed.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _checkout(folder)
            # All copies share the results of the dry run (medtune/stages/dry_run.py).
            (folder / "trials").mkdir()
            (checkout.folder / ".cache").mkdir()
            (checkout.folder / ".cache" / "dry_run").symlink_to(folder / "trials")
            draw_slides(checkout.folder / "data" / "slides", range(20))
            (folder / "slides.yaml").write_text(SLIDES)
            checkout.run("python", "-m", "medtune", "params", "apply", str(folder / "slides.yaml"))
            checkout.run("dvc", "add", "--quiet", "data/slides")
            lines = checkout.run("dvc", "repro")
            shutil.copytree(checkout.folder, copy, symlinks=True)
            printed.write_text(lines)
    return Trained(checkout, copy, printed.read_text())


@pytest.fixture(scope="module")
def trained_copy(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Return a copy of the trained checkout, which a module may change."""
    folder = tmp_path_factory.mktemp("pipeline") / "medtune"
    shutil.copytree(trained.copy, folder, symlinks=True)
    return Checkout(folder)
