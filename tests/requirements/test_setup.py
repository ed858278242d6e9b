"""Tests of `make setup` with scripts that replace uv and a Python without pip."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
UV = f"""#!/usr/bin/env bash
echo "$*" >> calls
case "$*" in
  --version) echo "uv ${{UV_VERSION:-99.0.0}}" ;;
  venv*) rm -rf .venv && mkdir -p .venv/bin && ln -s {sys.executable} .venv/bin/python ;;
  "pip sync"*) exit "${{SYNC_CODE:-0}}" ;;
esac
"""
NO_PIP = f"""#!/usr/bin/env bash
case "$*" in *"-m pip"*) exit 1 ;; esac
exec {sys.executable} "$@"
"""


class Checkout:
    """A folder with the setup scripts, small locks and separate programs on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        shutil.copytree(PROJECT / "requirements", folder / "requirements", ignore=shutil.ignore_patterns("*.lock"))
        for name in ("dev", "dev-cpu"):
            (folder / "requirements" / f"{name}.lock").write_text("numpy==2.0\ntorch==2.15.0 \\\n", encoding="utf-8")
        shutil.copy(PROJECT / "pyproject.toml", folder)
        self.program("uv", UV)

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "calls").unlink(missing_ok=True)
        environment = {**os.environ, "PATH": f"{self.bin}:/usr/bin:/bin", "PYTHON": sys.executable, **variables}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60)

    def setup(self, torch: str = "default", **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run("requirements/setup.sh", torch, **variables)

    @property
    def calls(self) -> list[str]:
        """The first two arguments of each call of uv, except calls for the version."""
        path = self.folder / "calls"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [" ".join(line.split()[:2]) for line in lines if line != "--version"]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_setup__installs_once_and_prints_the_size(checkout: Checkout) -> None:
    first = checkout.setup()
    assert first.returncode == 0, first.stderr
    assert checkout.calls == ["venv --quiet", "pip sync", "pip install"]
    assert "Installing 2 packages or fewer into .venv" in first.stdout
    assert checkout.setup().stdout == ""
    assert checkout.calls == []


def test_setup__follows_a_changed_lock_without_a_new_environment(checkout: Checkout) -> None:
    checkout.setup()
    (checkout.folder / "requirements" / "dev.lock").write_text("numpy==2.1\n", encoding="utf-8")
    checkout.setup()
    assert checkout.calls == ["pip sync", "pip install"]


def test_setup__reinstalls_after_a_change_of_the_version(checkout: Checkout) -> None:
    checkout.setup()
    project = checkout.folder / "pyproject.toml"
    project.write_text(
        project.read_text(encoding="utf-8").replace("\nversion = ", "\nversion = '9' # "), encoding="utf-8"
    )
    checkout.setup()
    assert checkout.calls == ["pip sync", "pip install"]


def test_setup__replaces_an_incomplete_environment(checkout: Checkout) -> None:
    (checkout.folder / ".venv" / "bin").mkdir(parents=True)
    assert "Replacing .venv" in checkout.setup().stdout
    assert checkout.calls[0] == "venv --quiet"


def test_setup__repeats_an_interrupted_installation(checkout: Checkout) -> None:
    checkout.setup()
    (checkout.folder / "requirements" / "dev.lock").write_text("numpy==2.1\n", encoding="utf-8")
    assert checkout.setup(SYNC_CODE="1").returncode != 0
    checkout.setup()
    assert checkout.calls == ["venv --quiet", "pip sync", "pip install"]


def test_setup__replaces_an_environment_without_its_python(checkout: Checkout) -> None:
    checkout.setup()
    python = checkout.folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert checkout.setup().returncode == 0
    assert checkout.calls == ["venv --quiet", "pip sync", "pip install"]


def test_setup__cpu_installs_torch_from_the_cpu_index(checkout: Checkout) -> None:
    assert checkout.setup("cpu").returncode == 0
    text = (checkout.folder / "calls").read_text(encoding="utf-8")
    assert "requirements/dev-cpu.lock" in text
    assert "--torch-backend cpu --python .venv/bin/python torch==2.15.0\n" in text


def test_setup__rejects_an_unknown_variant_and_an_old_python(checkout: Checkout) -> None:
    process = checkout.setup("gpu")
    assert (process.returncode, process.stderr.count("\n")) == (2, 1)
    assert "TORCH=gpu" in process.stderr
    checkout.program("old", "#!/usr/bin/env bash\necho 'error: Python 3.10' >&2; exit 1\n")
    assert checkout.setup(PYTHON="old").returncode == 2


@pytest.mark.parametrize("version", ["0.8.24", "0.1.0"])
def test_uv__error_without_pip_and_apt_names_the_packages_to_install(checkout: Checkout, version: str) -> None:
    checkout.program("python-without-pip", NO_PIP)
    for name in ("bash", "dirname", "cut", "sort", "rm", "env"):
        (checkout.bin / name).symlink_to(shutil.which(name) or "")
    process = checkout.run(
        "requirements/uv", "pip", "list", PYTHON="python-without-pip", UV_VERSION=version, PATH=str(checkout.bin)
    )
    assert (process.returncode, process.stderr.count("\n")) == (2, 1), process.stderr
    assert "Install python3-pip or uv" in process.stderr
