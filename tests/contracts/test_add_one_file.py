"""Plugins in one new file: valid ones work without an entry in a list, and broken ones fail the contract tests.

All plugins are tested in a single run of the contract tests in a copy of the project.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
IGNORED = shutil.ignore_patterns(".venv")
TESTS = ("metrics", "heads", "rates", "sources", "peft")
METRICS, HEADS, SOURCES, METHODS = (
    "medtune/tasks/classification/metrics",
    "models/heads",
    "medtune/data/sources",
    "models/peft",
)

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
    """Return a head from (B, 1, C) features to (B, OUTPUTS) logits."""
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
    """Return the classes bright and dark."""
    return ("bright", "dark")


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """Return two images per patient of twelve patients."""
    return [
        Sample(f"ROOTp{n:02}/{image}", classes(params)[n % 2], f"p{n:02}", read=partial(draw, n % 2))
        for n in range(12)
        for image in range(2)
    ]


def draw(dark: int) -> np.ndarray:
    """Return a (9, 9, 3) uint8 image."""
    return np.full((9, 9, 3), 60 if dark else 200, np.uint8)
'''
METRIC = '''"""NAME."""

import numpy as np

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats


def value(stats: WeightedStats) -> Floats:
    """Return (R,) FORMULA."""
    return FORMULA


METRIC = Metric("NAME", "title of NAME", "max", value, order=900)
'''
DEPENDS_ON_ORDER = "stats.weights @ (stats.stats.recognized * np.arange(stats.stats.n_patients))"


def example_plugin(section: str, pattern: str) -> tuple[str, str]:
    """Return the name and the code of the example plugin in a section of CONTRIBUTING; `pattern` matches the name."""
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.search(rf"## {section}.*?```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    name = re.search(pattern, code[1])
    assert name is not None
    return name[1], code[1]


METRIC_NAME, METRIC_CODE = example_plugin("Add a metric", r'METRIC = Metric\("(\w+)"')
METHOD_NAME, METHOD_CODE = example_plugin("Add a PEFT method", r'method: Literal\["(\w+)"\]')


def render(template: str, name: str, **replacements: str) -> str:
    for word, text in {"NAME": name, **replacements}.items():
        template = (
            template.replace(f'"{word}"', f'"{text}"').replace(f"`{word}`", f"`{text}`")
            if word == "NAME"
            else (template.replace(word, text))
        )
    return template


FILES = {
    f"{METRICS}/{METRIC_NAME}.py": METRIC_CODE,
    f"{METHODS}/{METHOD_NAME}.py": METHOD_CODE,
    f"{HEADS}/flat_head.py": render(HEAD, "flat_head", OUTPUTS="classes"),
    f"{SOURCES}/flat_source.py": render(SOURCE, "flat_source", ROOT=""),
    f"{METRICS}/broken_order.py": render(METRIC, "broken_order", FORMULA=DEPENDS_ON_ORDER),
    f"{METRICS}/broken_type.py": render(METRIC, "broken_type", FORMULA="stats.recall"),
    f"{HEADS}/broken_head.py": render(HEAD, "broken_head", OUTPUTS="classes + 1"),
    f"{SOURCES}/broken_source.py": render(SOURCE, "broken_source", ROOT="/"),
}
NEW = (METRIC_NAME, "flat_head", "flat_source", METHOD_NAME)


@pytest.fixture(scope="module")
def contract_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return a copy of the project with the new files, and a result line per contract test of these files."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("medtune", "flows", "stages", "models", "tests"):
        shutil.copytree(PROJECT / name, folder / name, symlinks=True, ignore=IGNORED)
    for name in ("params.yaml", "pyproject.toml"):
        shutil.copy(PROJECT / name, folder)
    for name, code in FILES.items():
        assert not (folder / name).exists()
        (folder / name).write_text(code, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-rA", "--tb=no"]
    command += [f"tests/contracts/test_{name}.py" for name in TESTS] + ["-k", " or ".join([*NEW, "broken"])]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 1, process.stdout + process.stderr  # because of the broken files
    return folder, [line for line in process.stdout.splitlines() if line.startswith(("PASSED", "FAILED", "ERROR"))]


@pytest.mark.slow
@pytest.mark.xdist_group("one-file")
def test_one_file__adds_a_metric_a_head_a_source_or_a_method(contract_run: tuple[Path, list[str]]) -> None:
    folder, lines = contract_run
    passed = [line for line in lines if line.startswith("PASSED")]
    others = [line for line in lines if "broken" not in line]
    assert set(others) <= set(passed), lines
    assert all(sum(name in line for line in passed) >= 4 for name in NEW), lines
    assert sum(METHOD_NAME in line for line in passed) == 7, lines
    command = [sys.executable, "-m", "medtune", "params", "check", "--set", f"gate.metric={METRIC_NAME}"]
    command += ["--set", "model.head.kind=flat_head", "--set", "data.source=flat_source", "--set", "data.root=."]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("one-file")
def test_one_file__broken_plugins_fail(contract_run: tuple[Path, list[str]]) -> None:
    failed = [line for line in contract_run[1] if line.startswith("FAILED")]
    for test, name in (
        ("test_metric__does_not_depend_on_the_order_of_patients", "broken_order"),
        ("test_metric__one_value_per_row_of_weights", "broken_type"),
        ("test_head__returns_logits_and_gradients", "broken_head"),
        ("test_records__satisfy_the_contract", "broken_source"),
    ):
        assert any(test in line and name in line for line in failed), f"{test} {name}\n{contract_run[1]}"
