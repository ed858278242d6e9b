"""Reads params.yaml, overlays and --set into `Params`, or says in one line what is wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from medtune.config.errors import InputError, describe
from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.serving.one_line import first_line

DEFAULT = PROJECT / "params.yaml"


def parser() -> YAML:
    """The one YAML parser (YAML 1.2, as DVC's), which keeps comments."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    yaml.representer.add_representer(type(None), _write_null)
    return yaml


def _write_null(representer: Any, value: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def read(path: Path) -> dict[str, Any]:
    """A YAML file as a mapping.

    Raises:
        InputError: missing, not YAML, or not a mapping.
    """
    if not path.is_file():
        raise InputError(f"params file {path} does not exist")
    try:
        tree = _parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected sections (seed, data, model, ...), found {type(tree).__name__}")
    return tree


def _parse(text: str, name: str) -> Any:
    try:
        tree = parser().load(text)
        if _count(tree, {}) > MOST_VALUES:
            raise InputError(f"{name}: more than {MOST_VALUES:,} values: aliases (*name) that repeat one another?")
        return tree
    except (RecursionError, ValueError) as error:  # nested without end; a number of thousands of digits
        raise InputError(f"{name}: not valid YAML: {first_line(error)}") from None
    except MarkedYAMLError as error:
        where = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{name}{where}: not valid YAML: {error.problem}") from None
    except YAMLError as error:
        raise InputError(f"{name}: not valid YAML: {first_line(error)}") from None


MOST_VALUES = 100_000  # a few lines of aliases of aliases stand for billions


def _count(value: Any, known: dict[int, int]) -> int:
    """How many values `value` is when written out without aliases."""
    inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ()
    if id(value) not in known:
        known[id(value)] = MOST_VALUES + 1  # for one that holds itself
        known[id(value)] = 1 + sum(_count(one, known) for one in inside)
    return known[id(value)]


# Where one of these changes, the keys beside it are another plugin's and go, except those that every plugin shares.
DISCRIMINATORS = {"source", "kind", "method"}
SHARED = {"root", "image_size", "resize", "on_bad_image", "split"}


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
    overlay: Any = _parse(text, f"--set {assignment!r}") if text else None
    for key in reversed(path.split(".")):
        overlay = {key: overlay}
    merge(tree, overlay)


def assign_all(tree: dict[str, Any], assignments: Sequence[str]) -> None:
    """Applies every `section.key=value`; what chooses a plugin first, so that their order does not matter."""

    def chooses_later(assignment: str) -> bool:
        return assignment.partition("=")[0].rpartition(".")[2] not in DISCRIMINATORS

    for assignment in sorted(assignments, key=chooses_later):
        assign(tree, assignment)


def load(path: Path | None = None, sets: Sequence[str] = ()) -> Params:
    """Params from the checkout's params.yaml, `path` over it, and `sets` over both.

    What `path` (a whole file or an overlay) does not say stays as in the checkout's params.yaml.

    Raises:
        InputError: names the key, its value and what is allowed.
    """
    tree = read(DEFAULT)
    if path is not None and path.resolve() != DEFAULT:
        merge(tree, read(path))
    assign_all(tree, sets)
    return validate(tree)


def validate(tree: dict[str, Any]) -> Params:
    """`Params` from a plain mapping; every problem in one InputError."""
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise InputError(describe(error, Params)) from None
