"""A metric, a head or a source is one new file; a broken one fails the contract tests, and nobody edits a list."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
IGNORED = shutil.ignore_patterns("__pycache__", ".venv")
TESTS = ("metrics", "heads", "rates", "sources")
METRICS, HEADS, SOURCES = "medtune/tasks/classification/metrics", "models/heads", "medtune/data/sources"

HEAD = '''"""Head `NAME`: a linear layer on the token mean."""

from typing import TYPE_CHECKING, Literal

from medtune.config.schema import HeadParams

if TYPE_CHECKING:
    from torch import nn

INPUT = "mean"
LR_GRID = (1e-3, 1e-2)


class Params(HeadParams):
    """No options."""

    kind: Literal["NAME"] = "NAME"


def build(params: Params, tokens: int, channels: int, classes: int) -> "nn.Module":
    """Reads (B, 1, C), gives (B, OUTPUTS) logits."""
    from medtune.models.classifier import mean_head

    return mean_head(channels, OUTPUTS, norm=True)
'''
SOURCE = '''"""Source `NAME`: flat images, darker in class 1."""

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from medtune.config.data import DataParams
from medtune.data.sample import Sample

NAME, LICENSE, CITATION = "flat images", "Apache-2.0", "drawn by a test"
KNOWN_ISSUES: tuple[str, ...] = ()


class Params(DataParams):
    """No options."""

    source: Literal["NAME"] = "NAME"


def classes(params: Params) -> tuple[str, ...]:
    """Bright and dark."""
    return ("bright", "dark")


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """Two images of each of twelve patients."""
    return [
        Sample(f"ROOTp{n:02}/{image}", classes(params)[n % 2], f"p{n:02}", read=partial(draw, n % 2))
        for n in range(12)
        for image in range(2)
    ]


def draw(dark: int) -> np.ndarray:
    """(9, 9, 3) uint8."""
    return np.full((9, 9, 3), 60 if dark else 200, np.uint8)
'''
METRIC = '''"""NAME."""

import numpy as np

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats


def value(stats: WeightedStats) -> Floats:
    """(R,) FORMULA."""
    return FORMULA


METRIC = Metric("NAME", "title of NAME", "max", value, order=900)
'''
LATER_COUNT_MORE = "stats.weights @ (stats.stats.recognized * np.arange(stats.stats.n_patients))"


def contributed() -> tuple[str, str]:
    """Name and code of CONTRIBUTING's metric."""
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.search(r"## Add a metric.*?```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    name = re.search(r'METRIC = Metric\("(\w+)"', code[1])
    assert name is not None
    return name[1], code[1]


def made(template: str, name: str, **words: str) -> str:
    for word, text in {"NAME": name, **words}.items():
        template = (
            template.replace(f'"{word}"', f'"{text}"').replace(f"`{word}`", f"`{text}`")
            if word == "NAME"
            else (template.replace(word, text))
        )
    return template


def contract_tests(folder: Path, files: dict[str, str], names: str) -> subprocess.CompletedProcess[str]:
    """Run the contract tests that `names` selects in a copy of the project with more `files`, by path."""
    for name in ("medtune", "flows", "stages", "models", "tests"):
        shutil.copytree(PROJECT / name, folder / name, symlinks=True, ignore=IGNORED)
    for name in ("params.yaml", "pyproject.toml"):
        shutil.copy(PROJECT / name, folder)
    for name, code in files.items():
        assert not (folder / name).exists()
        (folder / name).write_text(code, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-rA", "--tb=no"]
    command += [f"tests/contracts/test_{name}.py" for name in TESTS] + ["-k", names]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_one_file__a_metric_a_head_and_a_source_each(tmp_path):
    name, code = contributed()
    files = {
        f"{METRICS}/{name}.py": code,
        f"{HEADS}/flat_head.py": made(HEAD, "flat_head", OUTPUTS="classes"),
        f"{SOURCES}/flat_source.py": made(SOURCE, "flat_source", ROOT=""),
    }
    done = contract_tests(tmp_path, files, f"{name} or flat")
    assert done.returncode == 0, done.stdout + done.stderr
    passed = [line for line in done.stdout.splitlines() if line.startswith("PASSED")]
    assert all(sum(part in line for line in passed) >= 4 for part in (name, "flat_head", "flat_source")), done.stdout
    command = [sys.executable, "-m", "medtune", "params", "check", "--set", f"gate.metric={name}"]
    command += ["--set", "model.head.kind=flat_head", "--set", "data.source=flat_source", "--set", "data.root=."]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    checked = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
def test_one_file__broken_ones_fail(tmp_path):
    files = {
        f"{METRICS}/broken_order.py": made(METRIC, "broken_order", FORMULA=LATER_COUNT_MORE),
        f"{METRICS}/broken_type.py": made(METRIC, "broken_type", FORMULA="stats.recall"),
        f"{HEADS}/broken_head.py": made(HEAD, "broken_head", OUTPUTS="classes + 1"),
        f"{SOURCES}/broken_source.py": made(SOURCE, "broken_source", ROOT="/"),
    }
    done = contract_tests(tmp_path, files, "broken")
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    for test, name in (
        ("test_metric__does_not_depend_on_the_order_of_patients", "broken_order"),
        ("test_metric__one_value_per_row_of_weights", "broken_type"),
        ("test_head__gives_logits_and_gradients", "broken_head"),
        ("test_records__keep_the_contract", "broken_source"),
    ):
        assert any(test in line and name in line for line in failed), f"{test} {name}\n{done.stdout}"
