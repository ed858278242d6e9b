"""A copy of the checkout with a small set-up in its params.yaml, in which DVC, Prefect and the stages really run."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv", ".cache", "artifacts", "prepared", "__pycache__", ".*_cache", "docs"
)
HALF = "{mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}"
SMALL = """
data: {labels: binary, image_size: 32, patients: 20, images_per_patient: 2}
model: {weights: WEIGHTS, backbone_args: {img_size: 32, depth: 2}, normalization: HALF}
frozen: {epochs: 2, views: 1, batch_size: 8}
finetune: {epochs: 2, batch_size: 8}
evaluate: {bootstrap: 100}
export: {precisions: [fp32], parity_images: 8, batch_sizes: [1, 2]}
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


@pytest.fixture(scope="session")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the checkouts' trials of their common network showed (medtune/stages/dry_run.py): one trial serves all."""
    return tmp_path_factory.mktemp("trials")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, trials: Path) -> Checkout:
    import timm
    import torch
    from safetensors.torch import save_file

    place = tmp_path_factory.mktemp("pipeline")
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
    (copy.folder / ".cache").mkdir()
    (copy.folder / ".cache" / "dry_run").symlink_to(trials)
    return copy
