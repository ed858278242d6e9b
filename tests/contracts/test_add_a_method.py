"""CONTRIBUTING's walk, taken: its made-up method is one new file, and the contract tests pick it up."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
IGNORED = shutil.ignore_patterns("__pycache__")
PACKAGES = ("medtune", "flows", "stages", "models", "tests")


@pytest.mark.slow
def test_walk__the_new_file_is_all_it_takes(tmp_path):
    for name in PACKAGES:
        shutil.copytree(PROJECT / name, tmp_path / name, symlinks=True, ignore=IGNORED)
    for name in ("params.yaml", "pyproject.toml"):
        shutil.copy(PROJECT / name, tmp_path)
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    name = re.search(r'method: Literal\["(\w+)"\]', code[1])
    assert name is not None
    (tmp_path / "models" / "peft" / f"{name[1]}.py").write_text(code[1], encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/contracts/test_peft.py",
        "tests/contracts/test_rates.py",
        "-k",
        name[1],
    ]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b7 passed", done.stdout), done.stdout
