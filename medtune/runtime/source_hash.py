"""Fingerprint of the code on which the result of a stage depends: its modules, and the templates that they name."""

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

from medtune.config.project import PACKAGE

# Modules that cannot affect results. Edits to them must not invalidate the cache.
EXCLUDED_MODULES = (
    "medtune.tracking",
    "medtune.runtime.console",
    "medtune.serving.one_line",
    "medtune.serving.field_error",
    "medtune.config.errors",
    "medtune.config.expectations",
    "medtune.config.validation_errors",
    "medtune.benchmark.grid",
    "medtune.runtime.lock",
    "medtune.runtime.progress",
    # These modules define and load params. Cache keys contain the values of all params, including defaults.
    "medtune.config.load",
    "medtune.config.registry",
    "medtune.config.schema",
    "medtune.config.base",
    "medtune.config.project",
    "medtune.config.training",
    # These modules check or start a run. They do not change what the run computes.
    "medtune.runtime.device",
    "medtune.runtime.paths",
    "medtune.stages.preflight",
    "medtune.models.hub_access",
    "medtune.stages.launch",
    # Protocols and loaders. The cache keys also cover the modules that they load.
    "medtune.tasks.base",
    "medtune.stages.steps",  # keys contain the digests of the data and artifacts that this module selects
)
# Name of a jinja2 template in the package, as in `render_template("evaluation/baselines.html.j2")`.
TEMPLATE_NAME = r"[\w/]+\.(?:html|md)\.j2"


def source_fingerprint(*modules: str) -> dict[str, str]:
    """Return the hashes of all project files that `modules` import or render, directly or indirectly.

    Args:
        modules: dotted names of the entry modules, including plugins that params select.

    Returns:
        SHA-256 by relative path. Comments, docstrings and layout of Python files do not affect the hashes.

    Raises:
        ModuleNotFoundError: a module has no source file.
    """
    if missing := [module for module in modules if _find_file(module) is None]:
        raise ModuleNotFoundError(f"no source file for {', '.join(missing)}")
    closure: dict[str, str] = {}
    queue = list(modules)
    while queue:
        reference = queue.pop()
        path = _find_file(reference)
        if path is None or _is_excluded(reference) or (name := path.relative_to(PACKAGE.parent).as_posix()) in closure:
            continue
        closure[name], references = (_hash_template if path.suffix == ".j2" else _hash_module)(path)
        queue += references
    return dict(sorted(closure.items()))


def _is_excluded(module: str) -> bool:
    return any(module == name or module.startswith(name + ".") for name in EXCLUDED_MODULES)


@cache
def _find_file(reference: str) -> Path | None:
    """Return the file of a module or template; None if it is not part of the package."""
    if reference.endswith(".j2"):
        return PACKAGE / reference if (PACKAGE / reference).is_file() else None
    base = PACKAGE.parent.joinpath(*reference.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


@cache
def _hash_template(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the hash of a template, and the templates that it extends, imports or includes."""
    text = path.read_text(encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest(), tuple(re.findall(f'"({TEMPLATE_NAME})"', text))


@cache
def _hash_module(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the hash of a module, and the modules and templates that it names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    references: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            references += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            references += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(TEMPLATE_NAME, node.value):
            references.append(node.value)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(references)
