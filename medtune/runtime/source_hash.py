"""What a stage's result depends on in the project's own source: its import closure, without comments."""

import ast
import hashlib
from functools import cache
from pathlib import Path

from medtune.config.project import PACKAGE

# Watching a run does not change it, and a better error message is no reason to train again.
EXCLUDED_MODULES = (
    "medtune.tracking",
    "medtune.runtime.console",
    "medtune.serving.one_line",
    "medtune.config.errors",
    "medtune.benchmark.grid",
    "medtune.runtime.lock",
    "medtune.runtime.progress",
    # What params say enters keys as values, whole sections with their defaults.
    "medtune.config.load",
    "medtune.config.registry",
    "medtune.config.schema",
    "medtune.config.base",
    "medtune.config.project",
    "medtune.runtime.device",
    "medtune.runtime.paths",
    "medtune.config.training",
    "medtune.stages.preflight",
    "medtune.models.hub_access",
    "medtune.stages.launch",
    # Protocols, and loaders of parts that keys name themselves.
    "medtune.tasks.base",
    "medtune.stages.steps",  # what it selects, the data and the upstream artifacts, enters keys as content
)


def source_fingerprint(*modules: str) -> dict[str, str]:
    """sha256 of every project file that `modules` import, directly or not, by relative path.

    Comments, docstrings and layout do not count. Plugins chosen by params are named by the caller.

    Raises:
        ModuleNotFoundError: one of `modules` has no file, so a key would not follow its code.
    """
    if absent := [module for module in modules if _find_file(module) is None]:
        raise ModuleNotFoundError(f"no source file for {', '.join(absent)}")
    closure: dict[str, str] = {}
    queue = list(modules)
    while queue:
        module = queue.pop()
        path = _find_file(module)
        if path is None or _is_excluded(module) or (name := path.relative_to(PACKAGE.parent).as_posix()) in closure:
            continue
        closure[name], imported = _hash_and_imports(path)
        queue += imported
    return dict(sorted(closure.items()))


def _is_excluded(module: str) -> bool:
    return any(module == name or module.startswith(name + ".") for name in EXCLUDED_MODULES)


@cache
def _find_file(module: str) -> Path | None:
    base = PACKAGE.parent.joinpath(*module.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


@cache
def _hash_and_imports(path: Path) -> tuple[str, tuple[str, ...]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:] or [ast.Pass()]  # type: ignore[assignment]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(imported)
