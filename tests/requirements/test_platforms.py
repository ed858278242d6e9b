"""Every extra resolves to wheels alone on every platform and on the oldest and newest Python."""

import re
from pathlib import Path

import pytest

from tests.requirements.conftest import run_uv

PLATFORMS = ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"]
PYTHONS = ["3.11", "3.14"]
# These have only an sdist; it contains Python alone and needs no compiler.
PURE_SDISTS = ["antlr4-python3-runtime"]
LOCKS = ["dev", "dev-cpu", "train", "predict", "serve", "serve-gpu"]
PROJECT = Path(__file__).resolve().parents[2]


def resolve(platform: str, python: str, *words: str) -> set[str]:
    """Return the names of the packages that uv resolves from wheels alone."""
    target = ["--python-platform", platform, "--python-version", python]
    sources = [word for name in PURE_SDISTS for word in ("--no-binary", name)]
    text = run_uv("pip", "compile", "--quiet", "--no-header", "--only-binary", ":all:", *sources, *target, *words)
    return set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_project__resolves_to_wheels(platform: str, python: str) -> None:
    base = resolve(platform, python, "pyproject.toml")
    served = resolve(platform, python, "pyproject.toml", "--extra", "serve-gpu")
    trained = resolve(platform, python, "pyproject.toml", "--extra", "dev")
    gpu = platform.startswith("x86_64-manylinux")
    for packages in (base, served, trained):
        assert ("onnxruntime-gpu" in packages, "onnxruntime" in packages) == (gpu, not gpu)
    assert not {"torch", "fastapi"} & base
    assert ("nvidia-cudnn-cu13" in served) == gpu
    assert {"torch", "torchvision", "prefect", "dvc"} <= trained


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_locks__have_wheels(platform: str, python: str) -> None:
    for name in ("dev", "dev-cpu", "serve", "serve-gpu"):  # train and predict are subsets of these
        assert resolve(platform, python, "--no-deps", f"requirements/{name}.lock"), name


@pytest.mark.parametrize("name", [*LOCKS, "bootstrap", "audit"])
def test_locks__have_hashes_and_no_address(name: str) -> None:
    text = (PROJECT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    assert "://" not in text
    pinned = re.findall(r"^[\w.-]+==.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    assert pinned
    assert all("--hash=sha256:" in entry for entry in pinned)


@pytest.mark.parametrize("name", ["dev-cpu", "predict", "serve"])
def test_locks_without_cuda__have_no_gpu_package(name: str) -> None:
    text = (PROJECT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    assert re.findall(r"^(?:nvidia|cuda|triton|torch|onnxruntime-gpu)[\w.-]*==", text, re.MULTILINE) == []
    assert "\nonnxruntime==" in text
