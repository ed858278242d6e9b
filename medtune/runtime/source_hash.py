"""Fingerprint of the source code that a stage's result depends on: its import closure without comments."""

import ast
import hashlib
from functools import cache
from pathlib import Path

from medtune.config.project import PACKAGE

# Modules that cannot affect results. Edits to them must not invalidate the cache.
EXCLUDED_MODULES = (
    "medtune.tracking",
    "medtune.runtime.console",
    "medtune.serving.one_line",
    "medtune.config.errors",
    "medtune.config.validation_errors",
    "medtune.benchmark.grid",
    "medtune.runtime.lock",
    "medtune.runtime.progress",
    # Keys contain the values of params, including defaults.
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
    # Protocols, and loaders of modules that the keys list.
    "medtune.tasks.base",
    "medtune.stages.steps",  # keys contain the digests of the data and artifacts that it selects
)


def source_fingerprint(*modules: str) -> dict[str, str]:
    """Return the hashes of all project files that `modules` import, directly or indirectly.

    Args:
        modules: dotted names of the entry modules, including plugins that params select.

    Returns:
        SHA-256 by relative path. Comments, docstrings and layout do not affect it.

    Raises:
        ModuleNotFoundError: a module has no source file.
    """
    if missing := [module for module in modules if _find_file(module) is None]:
        raise ModuleNotFoundError(f"no source file for {', '.join(missing)}")
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
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(imported)
