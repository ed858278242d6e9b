"""A metric, a head, a source or a PEFT method is one new file; a broken one fails the contract tests.

Nobody edits a list. All files are tried in one copy of the project, in one run of the contract tests.
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


def contributed(section: str, pattern: str) -> tuple[str, str]:
    """Name and code of the plugin that a section of CONTRIBUTING makes up; `pattern` finds its name."""
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.search(rf"## {section}.*?```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    name = re.search(pattern, code[1])
    assert name is not None
    return name[1], code[1]


METRIC_NAME, METRIC_CODE = contributed("Add a metric", r'METRIC = Metric\("(\w+)"')
METHOD_NAME, METHOD_CODE = contributed("Add a PEFT method", r'method: Literal\["(\w+)"\]')


def made(template: str, name: str, **words: str) -> str:
    for word, text in {"NAME": name, **words}.items():
        template = (
            template.replace(f'"{word}"', f'"{text}"').replace(f"`{word}`", f"`{text}`")
            if word == "NAME"
            else (template.replace(word, text))
        )
    return template


FILES = {
    f"{METRICS}/{METRIC_NAME}.py": METRIC_CODE,
    f"{METHODS}/{METHOD_NAME}.py": METHOD_CODE,
    f"{HEADS}/flat_head.py": made(HEAD, "flat_head", OUTPUTS="classes"),
    f"{SOURCES}/flat_source.py": made(SOURCE, "flat_source", ROOT=""),
    f"{METRICS}/broken_order.py": made(METRIC, "broken_order", FORMULA=LATER_COUNT_MORE),
    f"{METRICS}/broken_type.py": made(METRIC, "broken_type", FORMULA="stats.recall"),
    f"{HEADS}/broken_head.py": made(HEAD, "broken_head", OUTPUTS="classes + 1"),
    f"{SOURCES}/broken_source.py": made(SOURCE, "broken_source", ROOT="/"),
}
NEW = (METRIC_NAME, "flat_head", "flat_source", METHOD_NAME)


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A copy of the project with the new files, and a line per contract test of one of them."""
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
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr  # the broken ones
    return folder, [line for line in done.stdout.splitlines() if line.startswith(("PASSED", "FAILED", "ERROR"))]


@pytest.mark.slow
@pytest.mark.xdist_group("one-file")
def test_one_file__a_metric_a_head_a_source_and_a_method_each(tried: tuple[Path, list[str]]) -> None:
    folder, lines = tried
    passed = [line for line in lines if line.startswith("PASSED")]
    others = [line for line in lines if "broken" not in line]
    assert set(others) <= set(passed), lines
    assert all(sum(name in line for line in passed) >= 4 for name in NEW), lines
    assert sum(METHOD_NAME in line for line in passed) == 7, lines
    command = [sys.executable, "-m", "medtune", "params", "check", "--set", f"gate.metric={METRIC_NAME}"]
    command += ["--set", "model.head.kind=flat_head", "--set", "data.source=flat_source", "--set", "data.root=."]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    checked = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("one-file")
def test_one_file__broken_ones_fail(tried: tuple[Path, list[str]]) -> None:
    failed = [line for line in tried[1] if line.startswith("FAILED")]
    for test, name in (
        ("test_metric__does_not_depend_on_the_order_of_patients", "broken_order"),
        ("test_metric__one_value_per_row_of_weights", "broken_type"),
        ("test_head__gives_logits_and_gradients", "broken_head"),
        ("test_records__keep_the_contract", "broken_source"),
    ):
        assert any(test in line and name in line for line in failed), f"{test} {name}\n{tried[1]}"
