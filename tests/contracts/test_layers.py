"""Imports run one way, wandb and prefect each have one home, and asking what would run imports nothing heavy."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
# From the bottom up: a package may import those of its own line and of the lines above it in this list.
# Serving imports no other package, so that it can be installed alone, and all others may import it.
LAYERS = [
    {"serving"},
    {"config"},
    {"runtime"},
    {"data", "models"},
    {"evaluation"},
    {"tasks"},
    {"training", "export", "tracking"},
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
    """Every module of the package, found through the links too."""
    folders = [PROJECT / "medtune", *(PROJECT / "medtune" / name for name in LINKED)]
    return sorted({path for folder in folders for path in folder.rglob("*.py")})


FILES = source_files()


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, with the names it takes from a package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(path: Path) -> str:
    """`runtime` for medtune/runtime/lock.py; an empty string for a file of medtune itself."""
    parts = path.relative_to(PROJECT / "medtune").parts
    return parts[0] if len(parts) > 1 else ""


def breaches(path: Path) -> list[str]:
    """What a file imports against the rules."""
    package, found = package_of(path), []
    for module in imported(path):
        top, _, rest = module.partition(".")
        target = rest.partition(".")[0]
        if top == "medtune" and package and RANK.get(target, -1) > RANK[package]:
            found.append(f"{package} is below {target}: imports {module}")
        if (top == "wandb" and package != "tracking") or (top == "prefect" and package != "flows"):
            found.append(f"{package} imports {module}")
        if package == "flows" and top == "torch":
            found.append("flows imports torch")
    return found


def test_packages__each_has_a_layer() -> None:
    packages = {path.name for path in (PROJECT / "medtune").iterdir() if (path / "__init__.py").is_file()}
    assert packages == set(RANK)


@pytest.mark.parametrize("folder", ["medtune", "flows", "stages", "models", *OUTSIDE])
def test_imports__name_the_package(folder: str) -> None:
    wrong = [
        f"{path}: {module}"
        for path in sorted((PROJECT / folder).rglob("*.py"))
        for module in imported(path)
        if module.partition(".")[0] in TOP_LEVEL
    ]
    assert wrong == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_imports__run_one_way(path: Path) -> None:
    assert breaches(path) == []


def test_imports__breach_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "medtune" / "models" / "wrong.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "def late():\n    import wandb\n    from medtune.flows.train import train\n    return wandb, train\n"
    )
    monkeypatch.setitem(globals(), "PROJECT", tmp_path)
    assert breaches(module) == ["models imports wandb", "models is below flows: imports medtune.flows.train.train"]


def module_name(path: Path) -> str:
    """`medtune.runtime.lock` for medtune/runtime/lock.py; the package's name for its __init__.py."""
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


def import_cycle(files: list[Path]) -> list[str]:
    """Modules that import each other in a circle, late and type-checking imports included; empty if none do."""
    modules = {module_name(path): path for path in files}
    graph = {}
    for name, path in modules.items():
        # `from a.b import c` names a.b.c: the module is a.b.c, or a.b where c is one of its names.
        targets = {each if each in modules else each.rpartition(".")[0] for each in imported(path)}
        graph[name] = targets & modules.keys() - {name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_imports__have_no_cycle() -> None:
    assert import_cycle(FILES) == []


def test_imports__a_cycle_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "medtune" / "models"
    package.mkdir(parents=True)
    (package / "one.py").write_text("from medtune.models.two import b\n\na = b\n")
    (package / "two.py").write_text("def b():\n    from medtune.models import one\n\n    return one\n")
    monkeypatch.setitem(globals(), "PROJECT", tmp_path)
    assert set(import_cycle(sorted(package.iterdir()))) == {"medtune.models.one", "medtune.models.two"}


HEAVY = ("torch", "timm", "prefect", "wandb", "onnx", "onnxruntime", "sklearn", "matplotlib")


def heavy_after(code: str) -> set[str]:
    """Which heavy packages a fresh process has imported after `code`."""
    ask = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules.keys() & set({HEAVY!r}))))"
    done = subprocess.run([sys.executable, "-c", ask], cwd=PROJECT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


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
def test_reading_params_and_modules__imports_nothing_heavy(code: str) -> None:
    assert heavy_after(code) == set()
