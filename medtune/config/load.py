"""Load params.yaml, overlays and --set as validated `Params`. An overlay is a YAML file with some of the keys."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from medtune.config import registry
from medtune.config.errors import InputError, show_value
from medtune.config.project import PACKAGE, PARAMS_FILE, PROJECT
from medtune.config.schema import Params
from medtune.config.validation_errors import format_validation_error
from medtune.serving.one_line import first_line

DEFAULT_PARAMS = PROJECT / PARAMS_FILE
SHIPPED = PACKAGE / "template" / PARAMS_FILE  # the defaults that `medtune init` copies


def yaml_loader() -> YAML:
    """Return the YAML parser of the project: YAML 1.2 like DVC, with comments preserved."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    yaml.representer.add_representer(type(None), _write_null)
    return yaml


def _write_null(representer: Any, value: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def read(path: Path) -> dict[str, Any]:
    """Read a YAML file as a mapping.

    Args:
        path: params file or overlay.

    Returns:
        Mapping of sections, with comments preserved.

    Raises:
        InputError: the file does not exist, is not YAML, or is not a mapping of names.
    """
    if path.is_dir():
        raise InputError(f"{path}: this is a folder. Give the name of a YAML file")
    if not path.is_file():
        raise InputError(f"{path}: the file does not exist. Check the path")
    try:
        tree = _parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a UTF-8 text file. Save it as UTF-8 text") from None
    if tree is None:
        raise InputError(f"{path}: the file has no sections. Add at least one, such as data or model")
    if not isinstance(tree, dict):
        found = "a list" if isinstance(tree, list) else "a single value"
        raise InputError(f"{path}: expected a mapping of sections such as data and model, found {found}")
    for key in tree:
        if not isinstance(key, str):
            shown = show_value(list(key) if isinstance(key, tuple) else key)
            raise InputError(f"{path}: the key {shown} is not text. Use the name of a section, such as data or model")
    return tree


def _parse(text: str, name: str) -> Any:
    """Parse YAML; `name` is the file or option for messages."""
    try:
        _reject_tags(text, name)
        tree = yaml_loader().load(text)
        if _node_count(tree, {}) > MAX_NODES:
            raise InputError(f"{name}: more than {MAX_NODES:,} values. Remove nested YAML aliases (*name)")
        return tree
    except RecursionError:
        raise InputError(f"{name}: not valid YAML: nested too deeply. Check the brackets") from None
    except ValueError as error:
        if "integer string conversion" not in str(error):
            raise InputError(f"{name}: not valid YAML: {first_line(error)}") from None
        limit = sys.get_int_max_str_digits()
        raise InputError(f"{name}: a number has more than {limit:,} digits. Use a smaller number") from None
    except MarkedYAMLError as error:
        where = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        if error.problem == "but found another document":
            raise InputError(f"{name}{where}: a second YAML document starts here (---). Keep only one") from None
        if "for merging" in str(error.problem):
            raise InputError(
                f"{name}{where}: << merges a mapping or a list of mappings, but this is something else. Remove the line"
            ) from None
        raise InputError(f"{name}{where}: not valid YAML: {_reword(str(error.problem))}") from None
    except ReaderError as error:
        where = f" line {text[: error.position].count(chr(10)) + 1}"
        raise InputError(
            f"{name}{where}: contains a control character (code {error.character}). Remove it, or save the file "
            "as plain text in UTF-8"
        ) from None
    except YAMLError as error:
        raise InputError(f"{name}: not valid YAML: {first_line(error)}") from None


def _reword(problem: str) -> str:
    """Replace the parser's words for a tab and for the end of the text."""
    if problem.startswith("found character '\\t'"):
        return "a tab is not allowed here. Use spaces"
    return problem.replace("'<stream end>'", "the end of the text")


def _reject_tags(text: str, name: str) -> None:
    """Raise if a value has a tag such as !!python/object, which the parser would ignore."""
    if "!" not in text:
        return
    for event in yaml_loader().parse(text):
        if tag := getattr(event, "tag", None):
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            where = f"{name} line {event.start_mark.line + 1}"
            raise InputError(f"{where}: the YAML tag {shown} is not allowed. Remove it, or put the text in quotes")


MAX_NODES = 100_000  # a few lines of nested aliases can expand to billions of values


def _node_count(value: Any, known: dict[int, int]) -> int:
    """Return the number of values after aliases are expanded."""
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ()
    if id(value) not in known:
        known[id(value)] = MAX_NODES + 1  # the count that a value gets if it contains itself
        known[id(value)] = 1 + sum(_node_count(child, known) for child in children)
    return known[id(value)]


# Keys that belong to one backbone. A new model.backbone removes these keys unless the same overlay sets them.
BACKBONE_KEYS = ("backbone_args", "normalization", "weights")
# Keys that choose a plugin. A change removes the sibling keys, except those that all plugins share.
PLUGIN_KEYS = {"source", "kind", "method"}
SHARED_DATA_KEYS = {"root", "image_size", "resize", "on_bad_image", "split"}


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> None:
    """Merge `overlay` into `base` in place. A new plugin or backbone removes the keys of the previous one."""
    for key in [k for k in PLUGIN_KEYS & overlay.keys() & base.keys() if overlay[k] != base[k]]:
        base[key] = overlay[key]
        kept = SHARED_DATA_KEYS - (_unused_keys(overlay[key]) if key == "source" else frozenset())
        for stale in [k for k in base if k not in overlay and k not in kept]:
            del base[stale]
    if "backbone" in overlay and overlay["backbone"] != base.get("backbone"):
        for key in [key for key in BACKBONE_KEYS if key not in overlay and _only_for_backbone(base, key, overlay)]:
            del base[key]
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict) and key != "backbone_args":
            merge(base[key], value)
        else:
            base[key] = value


def _unused_keys(source: Any) -> frozenset[str]:
    """Return the shared keys of section data that a source does not use: volumes have no `image_size`."""
    try:
        unused: frozenset[str] = registry.load_plugin("medtune.data.sources", source, "data.source").Params.UNUSED_KEYS
    except InputError:  # an unknown source, which the validation of params reports
        return frozenset()
    return unused


def _only_for_backbone(model: dict[str, Any], key: str, overlay: dict[str, Any]) -> bool:
    """Return True if `model[key]` does not apply to the backbone in `overlay`."""
    value = model.get(key)
    if key != "weights":
        return value is not None
    shipped = PACKAGE / "models" / "bundled" / f"{overlay['backbone']}.safetensors"
    return value not in (None, "hub", "none") and not (value == "bundled" and shipped.is_file())


def apply_override(tree: dict[str, Any], assignment: str) -> None:
    """Apply one `section.key=value` to `tree` in place. The value is parsed as YAML.

    Args:
        tree: params as a mapping.
        assignment: dotted key, `=` and a YAML value.

    Raises:
        InputError: the assignment has no `=`, or the value is not YAML.
    """
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise InputError(f"--set {assignment!r}: expected KEY=VALUE, such as frozen.lr=0.001")
    if not all(path.split(".")):
        raise InputError(
            f"--set {assignment!r}: the key {path!r} has an empty part. Write a name before and after every "
            "dot, such as data.root"
        )
    overlay: Any = _parse(text, f"--set {assignment!r}") if text else None
    for key in reversed(path.split(".")):
        overlay = {key: overlay}
    merge(tree, overlay)


def apply_overrides(tree: dict[str, Any], assignments: Sequence[str]) -> None:
    """Apply every `section.key=value`. The order does not matter: keys that choose a plugin come first."""

    def chooses_later(assignment: str) -> bool:
        return assignment.partition("=")[0].rpartition(".")[2] not in {*PLUGIN_KEYS, "backbone"}

    for assignment in sorted(assignments, key=chooses_later):
        apply_override(tree, assignment)


def read_base(with_overlay: bool) -> dict[str, Any]:
    """Read the project's params.yaml.

    Args:
        with_overlay: True if the caller merges an overlay into the result. Without a project, the result is then the
            shipped defaults.

    Returns:
        Mapping of sections.

    Raises:
        InputError: no params.yaml in this folder, its parents, or $MEDTUNE_PROJECT.
    """
    if with_overlay and not DEFAULT_PARAMS.is_file():
        return read(SHIPPED)
    if not DEFAULT_PARAMS.is_file():
        raise InputError(
            f"{PROJECT}: no {PARAMS_FILE} in this folder or its parents. Create a project with `medtune init`"
        )
    return read(DEFAULT_PARAMS)


def read_tree(overlays: Sequence[Path] = (), sets: Sequence[str] = ()) -> dict[str, Any]:
    """Return the project's params as a mapping, with `overlays` and then `sets` merged over them.

    Args:
        overlays: complete files or overlays, in order.
        sets: `section.key=value` assignments.

    Returns:
        Mapping of sections, not validated.
    """
    tree = read_base(with_overlay=bool(overlays))
    for overlay in overlays:
        if overlay.resolve() != DEFAULT_PARAMS or not DEFAULT_PARAMS.is_file():
            merge(tree, read(overlay))
    apply_overrides(tree, sets)
    return tree


def load(path: Path | None = None, sets: Sequence[str] = ()) -> Params:
    """Load the project's params.yaml, with `path` and then `sets` merged over it.

    Args:
        path: complete file or overlay. Keys that the file lacks keep the values of the project's params.yaml. Without a
            project, these keys have the shipped defaults.
        sets: `section.key=value` assignments.

    Returns:
        Validated params.

    Raises:
        InputError: a key is unknown or its value is invalid.
    """
    return validate(read_tree([path] if path else [], sets))


def validate(tree: dict[str, Any]) -> Params:
    """Validate a mapping of sections.

    Args:
        tree: mapping of sections.

    Returns:
        Validated params.

    Raises:
        InputError: a value is invalid. The message lists every problem.
    """
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise InputError(format_validation_error(error, Params)) from None
