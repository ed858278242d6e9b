"""Imports between packages: one direction, W&B and Prefect in one package each, and light modules stay light."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
# From the bottom up: a package may import packages of the same layer and of earlier layers.
# Serving imports no other package, because it is also installed separately.
LAYERS = [
    {"serving"},
    {"config"},
    {"runtime"},
    {"data", "models"},
    {"evaluation"},
    {"tasks", "training", "export", "tracking"},
    {"registry"},
    {"stages"},
    {"benchmark"},
    {"flows"},
    {"doctor"},
    {"cli"},
]
RANK = {package: rank for rank, layer in enumerate(LAYERS) for package in layer}
OUTSIDE = ("benchmarks", "examples", "studies", "tests")
LINKED = ("flows", "stages", "models")
TOP_LEVEL = {"config", "datasets", "models", "training", "evaluation", "handoff", "tracking", "stages", "flows"}


def source_files() -> list[Path]:
    """Return all modules of the package, including those in linked folders."""
    folders = [PROJECT / "medtune", *(PROJECT / "medtune" / name for name in LINKED)]
    return sorted({path for folder in folders for path in folder.rglob("*.py")})


FILES = source_files()


def imported(path: Path) -> Iterator[str]:
    """Yield all modules that a file imports; `from a import b` yields `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(path: Path) -> str:
    """Return `runtime` for medtune/runtime/lock.py, and an empty string for files directly in medtune."""
    parts = path.relative_to(PROJECT / "medtune").parts
    return parts[0] if len(parts) > 1 else ""


def forbidden_imports(path: Path) -> list[str]:
    """Return the forbidden imports of a file."""
    package, forbidden = package_of(path), []
    for module in imported(path):
        top, _, rest = module.partition(".")
        target = rest.partition(".")[0]
        if top == "medtune" and package and RANK.get(target, -1) > RANK[package]:
            forbidden.append(f"{package} is below {target}: imports {module}")
        if (top == "wandb" and package != "tracking") or (top == "prefect" and package != "flows"):
            forbidden.append(f"{package} imports {module}")
        if package == "flows" and top == "torch":
            forbidden.append("flows imports torch")
    return forbidden


def test_packages__have_a_layer() -> None:
    packages = {path.name for path in (PROJECT / "medtune").iterdir() if (path / "__init__.py").is_file()}
    assert packages == set(RANK)


@pytest.mark.parametrize("folder", ["medtune", "flows", "stages", "models", *OUTSIDE])
def test_imports__name_the_package(folder: str) -> None:
    obsolete = [
        f"{path}: {module}"
        for path in sorted((PROJECT / folder).rglob("*.py"))
        for module in imported(path)
        if module.partition(".")[0] in TOP_LEVEL
    ]
    assert obsolete == []


def test_imports__have_one_direction() -> None:
    assert len(FILES) > 300
    forbidden = {path.relative_to(PROJECT).as_posix(): forbidden_imports(path) for path in FILES}
    assert {name: imports for name, imports in forbidden.items() if imports} == {}


def test_forbidden_imports__detects_violations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "medtune" / "models" / "wrong.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "def late():\n    import wandb\n    from medtune.flows.train import train\n    return wandb, train\n"
    )
    monkeypatch.setitem(globals(), "PROJECT", tmp_path)
    assert forbidden_imports(module) == [
        "models imports wandb",
        "models is below flows: imports medtune.flows.train.train",
    ]


def module_name(path: Path) -> str:
    """Return `medtune.runtime.lock` for medtune/runtime/lock.py, and the package for an __init__.py."""
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


def import_cycle(files: list[Path]) -> list[str]:
    """Return modules that import each other, including late and type-checking imports; empty without a cycle."""
    modules = {module_name(path): path for path in files}
    graph = {}
    for name, path in modules.items():
        # `from a.b import c` imports the module a.b.c, or a name c of the module a.b.
        targets = {target if target in modules else target.rpartition(".")[0] for target in imported(path)}
        graph[name] = targets & modules.keys() - {name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_imports__have_no_cycle() -> None:
    assert import_cycle(FILES) == []


def test_import_cycle__detects_a_cycle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "medtune" / "models"
    package.mkdir(parents=True)
    (package / "one.py").write_text("from medtune.models.two import b\n\na = b\n")
    (package / "two.py").write_text("def b():\n    from medtune.models import one\n\n    return one\n")
    monkeypatch.setitem(globals(), "PROJECT", tmp_path)
    assert set(import_cycle(sorted(package.iterdir()))) == {"medtune.models.one", "medtune.models.two"}


HEAVY = ("torch", "timm", "prefect", "wandb", "onnx", "onnxruntime", "sklearn", "matplotlib")


def heavy_after(code: str) -> set[str]:
    """Return the heavy packages that a new process has imported after `code`."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules.keys() & set({HEAVY!r}))))"
    process = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    return set(json.loads(process.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "from medtune.config import load; load.load()",
        "import medtune.flows.train, medtune.flows.pipeline, medtune.flows.records, medtune.flows.environment",
        (
            "import medtune.flows.services, medtune.flows.hooks, "
            "medtune.flows.mark_crashed, medtune.flows.stale_run_automation, medtune.flows.bootstrap_server"
        ),
        (
            "import medtune.stages.data, medtune.stages.frozen, medtune.stages.finetune, "
            "medtune.stages.evaluate, medtune.stages.export"
        ),
        "import medtune.tracking.run",
    ],
)
def test_light_modules__import_no_heavy_package(code: str) -> None:
    assert heavy_after(code) == set()
