"""Explanation of the keys of params.yaml, read from the pydantic models."""

from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from pydantic import BaseModel

from medtune.config import registry
from medtune.config.errors import InputError, suggestion
from medtune.config.load import PLUGIN_KEYS
from medtune.config.schema import Params

BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


class Field(NamedTuple):
    """One key of params.yaml.

    Attributes:
        key: dotted name.
        type: type with bounds, as text.
        choices: allowed values. Empty if `type` describes them.
        default: default value; `...` if the key is required.
        value: current value.
        description: meaning.
    """

    key: str
    type: str
    choices: list[Any]
    default: Any
    value: Any
    description: str


def lookup(params: Params, key: str | None) -> Any:
    """Return a section or a single value.

    Args:
        params: validated params.
        key: dotted name of a section or value; None for all params.

    Returns:
        A section as nested mappings, or the value of a key.

    Raises:
        InputError: there is no such key.
    """
    value: Any = params.model_dump(mode="json")
    for depth, name in enumerate(key.split(".") if key else []):
        if not isinstance(value, dict) or name not in value:
            _raise_unknown(key or "", depth, list(value) if isinstance(value, dict) else [])
        value = value[name]
    return value


def fields(params: Params, key: str | None) -> list[Field]:
    """Return the keys of a section, or a single key.

    Args:
        params: validated params. Their source, head and PEFT method determine the keys of these sections.
        key: dotted name of a section or value; None for the list of sections.

    Returns:
        One entry per key.

    Raises:
        InputError: there is no such key.
    """
    section: Any = params
    names = key.split(".") if key else []
    for depth, name in enumerate(names):
        if name not in type(section).model_fields:
            _raise_unknown(key or "", depth, list(type(section).model_fields))
        value = getattr(section, name)
        if not isinstance(value, BaseModel):
            if depth < len(names) - 1:
                _raise_unknown(key or "", depth + 1, [])
            return [field for field in _fields_of(section, ".".join(names[:-1]), params) if field.key == key]
        section = value
    return list(_fields_of(section, key or "", params))


def lines(entries: list[Field]) -> Iterator[str]:
    """Yield one or two lines of text per key."""
    width = max(len(field.key) for field in entries)
    for field in entries:
        allowed = f"one of {', '.join(map(_plain, field.choices))}" if field.choices else field.type
        default = "" if field.default is ... else f"; default {_plain(field.default)}"
        now = "" if field.type == "section" or field.value == field.default else f"; now {_plain(field.value)}"
        yield f"{field.key:<{width}}  {allowed}{default}{now}"
        if field.description:
            yield f"{'':<{width}}  {field.description}"


def _fields_of(section: BaseModel, prefix: str, params: Params) -> Iterator[Field]:
    """Yield the fields of a section with the dotted name `prefix`."""
    model = type(section)
    schema = model.model_json_schema(mode="validation")
    for name, entry in schema.get("properties", {}).items():
        value = getattr(section, name)
        described = entry.get("description") or ""
        if isinstance(value, BaseModel):
            described = (type(value).__doc__ or "").strip().partition("\n")[0]
            yield Field(_join(prefix, name), "section", [], ..., value.model_dump(mode="json"), described)
            continue
        kinds, choices = _allowed(entry, schema.get("$defs", {}))
        package, _, plugin = model.__module__.rpartition(".")
        if name in PLUGIN_KEYS and value == plugin:
            kinds, choices = [], list(registry.plugin_names(package))
        elif _join(prefix, name) in params.metric_choices:
            kinds, choices = [], params.metric_choices[_join(prefix, name)]
        # If a key allows a literal value or a type (`auto or number`), `type` contains both and `choices` is empty.
        if choices and kinds:
            kinds, choices = [*map(_plain, choices), *kinds], []
        default = entry.get("default", ...)
        yield Field(_join(prefix, name), " or ".join(dict.fromkeys(kinds)) or "value", choices, default,
                    section.model_dump(mode="json")[name], described)  # fmt: skip


def _allowed(entry: dict[str, Any], defs: dict[str, Any]) -> tuple[list[str], list[Any]]:
    """Return the types and literal values that a JSON schema entry allows."""
    if "$ref" in entry:
        return _allowed(defs[entry["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in entry:
        options = [_allowed(option, defs) for option in entry["anyOf"]]
        return [kind for kinds, _ in options for kind in kinds], [
            choice for _, choices in options for choice in choices
        ]
    if "enum" in entry or "const" in entry:
        return [], entry.get("enum", [entry.get("const")])
    kind = entry.get("type", "")
    if kind == "array" and "items" in entry:
        kinds, choices = _allowed(entry["items"], defs)
        return [f"list of {', '.join(map(_plain, choices)) or ' or '.join(kinds)}"], []
    if kind == "object" and isinstance(entry.get("additionalProperties"), dict):
        return [f"mapping of names to {' or '.join(_allowed(entry['additionalProperties'], defs)[0])}"], []
    bounds = " and ".join(f"{sign} {entry[name]}" for name, sign in BOUNDS.items() if name in entry)
    return [f"{kind} {bounds}".strip()] if kind else [], []


def _raise_unknown(key: str, depth: int, known: list[str]) -> NoReturn:
    """Raise InputError, because name number `depth` of the dotted name `key` is not in `known`."""
    names = key.split(".")
    hint = f"Known keys: {', '.join(known)}" if known else f"{'.'.join(names[:depth])} has no keys"
    raise InputError(f"{'.'.join(names[: depth + 1])}: unknown key{suggestion(names[depth], known)}. {hint}")


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _plain(value: Any) -> str:
    """Return a value as YAML writes it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
