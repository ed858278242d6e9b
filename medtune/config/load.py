"""Reads params.yaml, overlays and --set into `Params`, or says in one line what is wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from medtune.config.errors import InputError, format_validation_error
from medtune.config.project import PACKAGE, PARAMS_FILE, PROJECT
from medtune.config.schema import Params
from medtune.serving.one_line import first_line

DEFAULT_PARAMS = PROJECT / PARAMS_FILE
SHIPPED = PACKAGE / "template" / PARAMS_FILE


def yaml_loader() -> YAML:
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
        tree = yaml_loader().load(text)
        if _node_count(tree, {}) > MAX_NODES:
            raise InputError(f"{name}: more than {MAX_NODES:,} values: aliases (*name) that repeat one another?")
        return tree
    except (RecursionError, ValueError) as error:  # nested without end; a number of thousands of digits
        raise InputError(f"{name}: not valid YAML: {first_line(error)}") from None
    except MarkedYAMLError as error:
        where = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{name}{where}: not valid YAML: {error.problem}") from None
    except YAMLError as error:
        raise InputError(f"{name}: not valid YAML: {first_line(error)}") from None


MAX_NODES = 100_000  # a few lines of aliases of aliases stand for billions


def _node_count(value: Any, known: dict[int, int]) -> int:
    """How many values `value` is when written out without aliases."""
    inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ()
    if id(value) not in known:
        known[id(value)] = MAX_NODES + 1  # for one that holds itself
        known[id(value)] = 1 + sum(_node_count(one, known) for one in inside)
    return known[id(value)]


# Keys that belong to one backbone. They go when model.backbone changes, unless the same overlay sets them.
BACKBONE_KEYS = ("backbone_args", "normalization", "weights")
# Where one of these changes, the keys beside it are another plugin's and go, except those that every plugin shares.
PLUGIN_KEYS = {"source", "kind", "method"}
SHARED_DATA_KEYS = {"root", "image_size", "resize", "on_bad_image", "split"}


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> None:
    """Puts `overlay` over `base`, in place, section by section."""
    for key in [k for k in PLUGIN_KEYS & overlay.keys() & base.keys() if overlay[k] != base[k]]:
        base[key] = overlay[key]
        for own in [k for k in base if k not in overlay and k not in SHARED_DATA_KEYS]:
            del base[own]
    if "backbone" in overlay and overlay["backbone"] != base.get("backbone"):
        for key in [key for key in BACKBONE_KEYS if key not in overlay and _only_for_backbone(base, key, overlay)]:
            del base[key]
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict) and key != "backbone_args":
            merge(base[key], value)
        else:
            base[key] = value


def _only_for_backbone(model: dict[str, Any], key: str, overlay: dict[str, Any]) -> bool:
    """True if `model[key]` makes no sense for the backbone that `overlay` names."""
    value = model.get(key)
    if key != "weights":
        return value is not None
    shipped = PACKAGE / "models" / "bundled" / f"{overlay['backbone']}.safetensors"
    return value not in (None, "hub", "none") and not (value == "bundled" and shipped.is_file())


def apply_override(tree: dict[str, Any], assignment: str) -> None:
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


def apply_overrides(tree: dict[str, Any], assignments: Sequence[str]) -> None:
    """Applies every `section.key=value`; what chooses a plugin first, so that their order does not matter."""

    def chooses_later(assignment: str) -> bool:
        return assignment.partition("=")[0].rpartition(".")[2] not in {*PLUGIN_KEYS, "backbone"}

    for assignment in sorted(assignments, key=chooses_later):
        apply_override(tree, assignment)


def read_base(with_overlay: bool) -> dict[str, Any]:
    """Read the project's params.yaml, or the shipped defaults if there is no project but an overlay.

    Raises:
        InputError: no params.yaml here, in a folder above, or in $MEDTUNE_PROJECT.
    """
    if with_overlay and not DEFAULT_PARAMS.is_file():
        return read(SHIPPED)
    if not DEFAULT_PARAMS.is_file():
        raise InputError(f"{PROJECT}: no {PARAMS_FILE} here or in a folder above. Create a project with `medtune init`")
    return read(DEFAULT_PARAMS)


def read_tree(overlays: Sequence[Path] = (), sets: Sequence[str] = ()) -> dict[str, Any]:
    """Return the project's params as a mapping, with `overlays` and then `sets` merged over them.

    Args:
        overlays: whole files or overlays, in order.
        sets: `section.key=value` assignments.
    """
    tree = read_base(with_overlay=bool(overlays))
    for overlay in overlays:
        if overlay.resolve() != DEFAULT_PARAMS or not DEFAULT_PARAMS.is_file():
            merge(tree, read(overlay))
    apply_overrides(tree, sets)
    return tree


def load(path: Path | None = None, sets: Sequence[str] = ()) -> Params:
    """Params from the project's params.yaml, `path` over it, and `sets` over both.

    What `path` (a whole file or an overlay) does not say stays as in the project's params.yaml; without a project, as
    in the shipped defaults.

    Raises:
        InputError: names the key, its value and what is allowed.
    """
    return validate(read_tree([path] if path else [], sets))


def validate(tree: dict[str, Any]) -> Params:
    """`Params` from a plain mapping; every problem in one InputError."""
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise InputError(format_validation_error(error, Params)) from None
