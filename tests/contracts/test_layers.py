"""Imports run one way, wandb and prefect each have one home, and asking what would run imports nothing heavy."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
LAYERS = [
    {"config"},
    {"models", "datasets"},
    {"training", "evaluation", "handoff", "tracking"},
    {"stages"},
    {"flows"},
    {"benchmarks"},
    {"torture"},
]
RANK = {package: rank for rank, layer in enumerate(LAYERS) for package in layer}
FILES = sorted(path for package in RANK for path in (PROJECT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def breaches(path: Path) -> list[str]:
    package = path.relative_to(PROJECT).parts[0]
    found = []
    for module in imported(path):
        top = module.split(".")[0]
        # A data source or a head takes its params class from config, which loads it by name, not by import.
        if top in RANK and RANK[top] > RANK[package]:
            found.append(f"{package} is below {top}: imports {module}")
        if (top == "wandb" and package != "tracking") or (top == "prefect" and package != "flows"):
            found.append(f"{package} imports {module}")
        if package == "flows" and top == "torch":
            found.append("flows imports torch")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_imports__run_one_way(path: Path) -> None:
    assert breaches(path) == []


def test_imports__breach_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "models" / "wrong.py"
    module.parent.mkdir()
    module.write_text("def late():\n    import wandb\n    from flows.train import train\n    return wandb, train\n")
    monkeypatch.setitem(globals(), "PROJECT", tmp_path)
    assert breaches(module) == ["models imports wandb", "models is below flows: imports flows.train"]


HEAVY = ("torch", "timm", "prefect", "wandb", "onnx", "onnxruntime", "sklearn", "matplotlib")


def heavy_after(code: str) -> set[str]:
    """Which heavy packages a fresh process has imported after `code`."""
    ask = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules.keys() & set({HEAVY!r}))))"
    done = subprocess.run([sys.executable, "-c", ask], cwd=PROJECT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "from config import load; load.load()",
        "import flows.train, flows.chain, flows.record, flows.environment",
        "import flows.services, flows.serve, flows.alert, flows.sweep, flows.watch, flows.register",
        "import stages.data, stages.frozen, stages.finetune, stages.evaluate, stages.export",
        "import tracking.run",
    ],
)
def test_reading_params_and_modules__imports_nothing_heavy(code: str) -> None:
    assert heavy_after(code) == set()


@pytest.mark.parametrize(
    "module",
    [
        "flows.train",
        "flows.services",
        "flows.serve",
        "stages.data",
        "stages.frozen",
        "stages.export",
        "config.apply",
        "config.doctor",
        "config.remote",
        "tracking.sync",
        "tracking.workspace",
        "flows.retrain",
    ],
)
def test_help__imports_nothing_heavy(module: str) -> None:
    code = f"""
import contextlib, io, runpy
sys.argv = ["{module}", "--help"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    runpy.run_module("{module}", run_name="__main__")"""
    assert heavy_after(code) == set()
