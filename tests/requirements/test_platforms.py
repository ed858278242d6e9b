"""Every extra resolves to wheels alone on every platform and on the oldest and newest Python."""

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.requirements.conftest import run_uv

PLATFORMS = ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"]
PYTHONS = ["3.11", "3.14"]
# These have only an sdist; it contains Python alone and needs no compiler.
PURE_SDISTS = ["antlr4-python3-runtime"]
CONNECTIONS = 12
LOCKS = ["dev", "dev-cpu", "train", "predict", "serve", "serve-gpu"]
PROJECT = Path(__file__).resolve().parents[2]


def resolve(platform: str, python: str, *words: str) -> set[str]:
    """Return the names of the packages that uv resolves from wheels alone."""
    target = ["--python-platform", platform, "--python-version", python]
    sources = [word for name in PURE_SDISTS for word in ("--no-binary", name)]
    text = run_uv("pip", "compile", "--quiet", "--no-header", "--only-binary", ":all:", *sources, *target, *words)
    return set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))


Resolved = dict[tuple[str, ...], Future[set[str]]]
EXTRAS = {"base": (), "serve-gpu": ("--extra", "serve-gpu"), "dev": ("--extra", "dev")}


def is_gpu(platform: str) -> bool:
    """True where CUDA has wheels."""
    return platform.startswith("x86_64-manylinux")


def required_locks(platform: str) -> list[str]:
    """The locks that together name every package for a platform; the other locks are subsets of these."""
    return ["dev", "dev-cpu", "serve-gpu"] if is_gpu(platform) else ["dev"]


@pytest.fixture(scope="module")
def resolved() -> Iterator[Resolved]:
    """Packages of every platform, Python and extra or lock; resolved at once, since uv mostly waits for the network."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        found: Resolved = {}
        for platform in PLATFORMS:
            for python in PYTHONS:
                for name in EXTRAS if python == PYTHONS[-1] else ["dev"]:
                    words = ("pyproject.toml", *EXTRAS[name])
                    found[platform, python, name] = pool.submit(resolve, platform, python, *words)
                for name in required_locks(platform):
                    words = ("--no-deps", f"requirements/{name}.lock")
                    found[platform, python, words[1]] = pool.submit(resolve, platform, python, *words)
        yield found


@pytest.mark.slow
@pytest.mark.xdist_group("platforms")
@pytest.mark.parametrize("platform", PLATFORMS)
def test_project__resolves_to_wheels(platform: str, resolved: Resolved) -> None:
    base, served, trained = (resolved[platform, PYTHONS[-1], name].result() for name in EXTRAS)
    oldest = resolved[platform, PYTHONS[0], "dev"].result()
    gpu = is_gpu(platform)
    for packages in (base, served, trained, oldest):
        assert ("onnxruntime-gpu" in packages, "onnxruntime" in packages) == (gpu, not gpu)
    assert not {"torch", "fastapi"} & base
    assert ("nvidia-cudnn-cu13" in served) == gpu
    assert {"torch", "torchvision", "prefect", "dvc"} <= trained & oldest


@pytest.mark.slow
@pytest.mark.xdist_group("platforms")
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_locks__have_wheels(platform: str, python: str, resolved: Resolved) -> None:
    for name in required_locks(platform):
        assert resolved[platform, python, f"requirements/{name}.lock"].result(), name


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
