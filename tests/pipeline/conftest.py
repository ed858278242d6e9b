"""Copies of the checkout with a small set-up in params.yaml, in which DVC, Prefect and the stages really run."""

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
LEFT_BEHIND = shutil.ignore_patterns(
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
# The learning rates teach nothing: retraining then has something to improve.
SLIDES = """
data: {source: folder, root: data/slides, csv: data.csv, positive: malignant}
frozen: {lr: 1.0e-9}
finetune: {lr: 1.0e-9}
"""


@dataclass(frozen=True)
class Checkout:
    """A copy of the checkout, and how commands are run in it."""

    folder: Path

    def environment(self) -> dict[str, str]:
        ours = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "WANDB_", "DVC_"))
        }
        ours.pop("PYTHONDONTWRITEBYTECODE", None)  # the copy is compiled once, not by every command
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return {**ours, "PATH": path, "MEDTUNE_DEVICE": "cpu", "MEDTUNE_CACHE": "", "PYTHONUNBUFFERED": "1"}

    def start(self, words: Sequence[str], **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env={**self.environment(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Tests that a shell started in the background ignore Ctrl-C, and so would what they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *words: str, **environment: str) -> str:
        """What a command printed; it must end well."""
        process = self.start(words, **environment)
        printed, _ = process.communicate(timeout=400)
        assert process.returncode == 0, printed
        return printed

    def train(self, *words: str, **environment: str) -> str:
        return self.run("python", "-m", "medtune", "train", *words, **environment)


@dataclass(frozen=True)
class Trained:
    """A checkout in which `dvc repro` trained on images that DVC tracks.

    Attributes:
        checkout: for the one module that continues in it.
        copy: as it was, for all others.
        printed: by `dvc repro`.
    """

    checkout: Checkout
    copy: Path
    printed: str


def patient_id(number: int) -> str:
    return f"patient{number:02d}"


def draw_slides(folder: Path, patients: range) -> None:
    """Three images a patient, added to the folder and its table: benign ones bluish, malignant ones reddish."""
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
        out = csv.DictWriter(stream, ("path", "label", "group"), lineterminator="\n")
        out.writeheader()
        out.writerows(rows)


def _checkout(place: Path) -> Checkout:
    """A copy of the checkout in a new folder, with the small set-up."""
    import timm
    import torch
    from safetensors.torch import save_file

    shutil.copytree(PROJECT, place / "medtune", symlinks=True, ignore=LEFT_BEHIND)
    copy = Checkout(place / "medtune")
    torch.manual_seed(0)
    weights = timm.create_model("test_vit", num_classes=0, img_size=32, depth=2).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, place / "weights.safetensors")
    (place / "small.yaml").write_text(
        SMALL.replace("WEIGHTS", str(place / "weights.safetensors")).replace("HALF", HALF)
    )
    copy.run("git", "init", "--quiet")
    copy.run("python", "-m", "medtune", "params", "apply", str(place / "small.yaml"))
    return copy


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which nothing has run."""
    return _checkout(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The one trained checkout of all test processes: the first that needs it makes it."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"
    original, copy, printed = Checkout(place / "medtune"), place / "copy", place / "printed.txt"
    with FileLock(f"{place}.lock"):
        if not printed.exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            _checkout(place)
            # What trials of a network showed (medtune/stages/dry_run.py): one trial serves all copies.
            (place / "trials").mkdir()
            (original.folder / ".cache").mkdir()
            (original.folder / ".cache" / "dry_run").symlink_to(place / "trials")
            draw_slides(original.folder / "data" / "slides", range(20))
            (place / "slides.yaml").write_text(SLIDES)
            original.run("python", "-m", "medtune", "params", "apply", str(place / "slides.yaml"))
            original.run("dvc", "add", "--quiet", "data/slides")
            lines = original.run("dvc", "repro")
            shutil.copytree(original.folder, copy, symlinks=True)
            printed.write_text(lines)
    return Trained(original, copy, printed.read_text())


@pytest.fixture(scope="module")
def trained_copy(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of the trained checkout, which a module may change."""
    folder = tmp_path_factory.mktemp("pipeline") / "medtune"
    shutil.copytree(trained.copy, folder, symlinks=True)
    return Checkout(folder)
