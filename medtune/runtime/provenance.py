"""Package versions and git revision of a result."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from medtune.config.project import PROJECT

PACKAGES = ("torch", "torchvision", "timm", "peft", "accelerate", "numpy", "onnx", "onnxruntime",
            "onnxruntime-gpu", "pillow", "scikit-learn", "prefect", "dvc", "wandb")  # fmt: skip


def package_versions(*packages: str) -> dict[str, str]:
    """Return the versions of installed `packages` without importing them."""
    return {package: installed_version for package in packages if (installed_version := _version(package)) is not None}


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def provenance() -> dict[str, object]:
    """Return Python version, package versions and git revision (None without git). `dirty`: uncommitted changes."""

    def git(*words: str) -> str | None:
        try:
            completed = subprocess.run(
                ["git", *words], cwd=PROJECT, capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return completed.stdout.strip()

    return {
        "python": platform.python_version(),
        "packages": package_versions(*PACKAGES),
        "git": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
    }
