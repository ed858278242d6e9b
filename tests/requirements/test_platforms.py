"""Tests that every extra resolves to wheels on every platform with the oldest and newest Python."""

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.requirements.conftest import run_uv

PLATFORMS = ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"]
PYTHONS = ["3.11", "3.14"]
# These packages have only an sdist, which needs no compiler.
PURE_SDISTS = ["antlr4-python3-runtime"]
CONNECTIONS = 12
LOCKS = ["dev", "dev-cpu", "train", "predict", "serve", "serve-gpu"]
PROJECT = Path(__file__).resolve().parents[2]


def resolve(platform: str, python: str, *arguments: str) -> set[str]:
    """Return the names of the packages that uv resolves from wheels only."""
    target = ["--python-platform", platform, "--python-version", python]
    sources = [word for name in PURE_SDISTS for word in ("--no-binary", name)]
    text = run_uv("pip", "compile", "--quiet", "--no-header", "--only-binary", ":all:", *sources, *target, *arguments)
    return set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))


Resolved = dict[tuple[str, ...], Future[set[str]]]
EXTRAS = {"base": (), "serve-gpu": ("--extra", "serve-gpu"), "dev": ("--extra", "dev")}


def is_gpu(platform: str) -> bool:
    """Return True if CUDA has wheels for the platform."""
    return platform.startswith("x86_64-manylinux")


def required_locks(platform: str) -> list[str]:
    """Return the locks that contain every package for a platform; the other locks are subsets."""
    return ["dev", "dev-cpu", "serve-gpu"] if is_gpu(platform) else ["dev"]


@pytest.fixture(scope="module")
def resolved() -> Iterator[Resolved]:
    """Resolve the packages of all platforms, Pythons, extras and locks in parallel; uv waits for the network."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        packages: Resolved = {}
        for platform in PLATFORMS:
            for python in PYTHONS:
                for name in EXTRAS if python == PYTHONS[-1] else ["dev"]:
                    arguments = ("pyproject.toml", *EXTRAS[name])
                    packages[platform, python, name] = pool.submit(resolve, platform, python, *arguments)
                for name in required_locks(platform):
                    arguments = ("--no-deps", f"requirements/{name}.lock")
                    packages[platform, python, arguments[1]] = pool.submit(resolve, platform, python, *arguments)
        yield packages


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.xdist_group("platforms")
@pytest.mark.parametrize("platform", PLATFORMS)
def test_project__resolves_to_wheels(platform: str, resolved: Resolved) -> None:
    base, serve, dev = (resolved[platform, PYTHONS[-1], name].result() for name in EXTRAS)
    oldest = resolved[platform, PYTHONS[0], "dev"].result()
    gpu = is_gpu(platform)
    for packages in (base, serve, dev, oldest):
        assert ("onnxruntime-gpu" in packages, "onnxruntime" in packages) == (gpu, not gpu)
    assert not {"torch", "fastapi"} & base
    assert ("nvidia-cudnn-cu13" in serve) == gpu
    assert {"torch", "torchvision", "prefect", "dvc"} <= dev & oldest


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.xdist_group("platforms")
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_locks__have_wheels(platform: str, python: str, resolved: Resolved) -> None:
    for name in required_locks(platform):
        assert resolved[platform, python, f"requirements/{name}.lock"].result(), name


@pytest.mark.parametrize("name", [*LOCKS, "bootstrap", "audit"])
def test_locks__have_hashes_and_no_url(name: str) -> None:
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
