"""Reads params.yaml, overlays and --set into `Params`, or says in one line what is wrong."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from config.errors import InputError, describe
from config.registry import PROJECT
from config.schema import Params

DEFAULT = PROJECT / "params.yaml"


def parser() -> YAML:
    """The one YAML parser (YAML 1.2, as DVC's), which keeps comments."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    return yaml


def read(path: Path) -> dict[str, Any]:
    """A YAML file as a mapping.

    Raises:
        InputError: missing, not YAML, or not a mapping.
    """
    if not path.is_file():
        raise InputError(f"params file {path} does not exist")
    try:
        tree = parser().load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        where = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{where}: not valid YAML: {error.problem}") from error
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected sections (seed, data, model, ...), found {type(tree).__name__}")
    return tree


# Where one of these changes, the keys beside it are another plugin's and go, except those that every plugin shares.
DISCRIMINATORS = {"source", "kind", "method"}
SHARED = {"image_size", "resize", "on_bad_image", "split"}


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> None:
    """Puts `overlay` over `base`, in place, section by section."""
    for key in [k for k in DISCRIMINATORS & overlay.keys() & base.keys() if overlay[k] != base[k]]:
        base[key] = overlay[key]
        for own in [k for k in base if k not in overlay and k not in SHARED]:
            del base[own]
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict) and key != "backbone_args":
            merge(base[key], value)
        else:
            base[key] = value


def assign(tree: dict[str, Any], assignment: str) -> None:
    """Applies one `section.key=value` to `tree`, in place; the value is read as YAML.

    Raises:
        InputError: no `=` in it, or the path runs through a plain value.
    """
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise InputError(f"--set {assignment!r}: write section.key=value")
    overlay: Any = parser().load(io.StringIO(text)) if text else None
    for key in reversed(path.split(".")):
        overlay = {key: overlay}
    merge(tree, overlay)


def load(path: Path | None = None, sets: Sequence[str] = ()) -> Params:
    """Params from the checkout's params.yaml, `path` over it, and `sets` over both.

    What `path` (a whole file or an overlay) does not say stays as in the checkout's params.yaml.

    Raises:
        InputError: names the key, its value and what is allowed.
    """
    tree = read(DEFAULT)
    if path is not None and path.resolve() != DEFAULT:
        merge(tree, read(path))
    for assignment in sets:
        assign(tree, assignment)
    return validate(tree)


def validate(tree: dict[str, Any]) -> Params:
    """`Params` from a plain mapping; every problem in one InputError."""
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise InputError(describe(error, Params)) from None
