"""Pydantic's validation errors in the words of MedTune, formatted as a single line."""

import json
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from medtune.config.errors import show_value, suggestion
from medtune.config.expectations import Hint, describe, literals

BOOLEAN = "boolean"
SECRET = "secret"
_PARAM = "param"
_OWN_TYPES = ("value_error", _PARAM, SECRET)
_SPECIFIC_TYPES = (*_OWN_TYPES, "finite_number")


def param_error(key: str, value: object, message: str) -> PydanticCustomError:
    """Return the error of one key, for a validator of its section.

    Args:
        key: key within the section.
        value: value of this key.
        message: the problem and its fix.
    """
    return PydanticCustomError(_PARAM, "{message}", {"key": key, "value": value, "message": message})


def format_validation_error(error: ValidationError, model: type[BaseModel], prefix: str = "") -> str:
    """Return the problem of every invalid key as `key=value: problem`.

    Args:
        error: error that the validation of `model` raised.
        model: section that was validated.
        prefix: dotted key of the section. Empty for the complete params file.

    Returns:
        One line. Problems are separated by semicolons.
    """
    problems = [_locate(problem, model, prefix) for problem in error.errors()]
    problems.sort(key=lambda problem: problem.type == "missing")  # a misspelled key is often the cause
    # pydantic reports one problem per member of a union. The first specific one describes the key.
    first: dict[Any, _Problem] = {}
    for problem in sorted(problems, key=lambda problem: problem.type not in _SPECIFIC_TYPES):
        if not any(_is_inside(other.path, problem.path) for other in problems):
            first.setdefault((problem.path, show_value(problem.value) if problem.is_key else None), problem)
    shown = list(first.values())
    return "; ".join(_format(problem) for problem in problems if any(problem is other for other in shown))


@dataclass(frozen=True)
class _Problem:
    """Problem of one key.

    Attributes:
        type: pydantic's type of the error.
        path: keys from the outermost section to the invalid key.
        value: value of the key; the key itself if `is_key`.
        message: text of the error.
        hint: values that the key accepts.
        is_key: True if the key of a mapping is invalid, not its value.
    """

    type: str
    path: tuple[str, ...]
    value: Any
    message: str
    hint: Hint
    is_key: bool = False


def _locate(problem: Any, model: type[BaseModel], prefix: str) -> _Problem:
    """Convert an error of pydantic to a problem, with the path as the user wrote it."""
    kind, value, loc = problem["type"], problem["input"], list(problem["loc"])
    tail: list[str] = []
    context, message = problem.get("ctx", {}), problem["msg"].removeprefix("Value error, ")
    if kind == "missing" and loc and isinstance(loc[-1], int):  # a list with too few entries
        kind, loc = "too_short", loc[:-1]
    if kind in ("extra_forbidden", "invalid_key"):
        loc, tail = loc[:-1], ["null" if (kind, loc[-1]) == ("invalid_key", "None") else str(loc[-1])]
    is_key = loc[-1:] == ["[key]"]
    if is_key:
        loc = loc[:-2]
    hint, path, in_union = Hint(model), [prefix] if prefix else [], False
    for key in loc:
        options = hint.alternatives()
        if not in_union and sum(option.annotation is not type(None) for option in options) > 1:
            in_union = True  # pydantic puts the name of the union's member here
            continue
        in_union = False
        if (child := next(filter(None, (option.child(key) for option in options)), None)) is not None:
            path.append(str(key))
            hint = child
    if is_key:
        hint = next(option.of_keys() for option in hint.alternatives() if option.is_mapping())
    if kind == BOOLEAN:
        keys, value, hint = _find_boolean(value, hint)
        path += keys
    if kind == _PARAM:
        tail, value = [context["key"]], context["value"]
    if kind == "union_tag_invalid":
        tail, value = [context["discriminator"].strip("'")], context["tag"]
        tags = (tag.strip("'") for tag in context["expected_tags"].split(", "))
        hint = Hint(Literal.__getitem__(tuple(tags)))
    return _Problem(kind, (*path, *tail), value, message, hint, is_key)


def _find_boolean(value: Any, hint: Hint) -> tuple[list[str], Any, Hint]:
    """Return the keys of the first boolean in a list or mapping, the boolean, and the hint of its entry.

    The search ends at a value that is itself of the wrong type.
    """
    entries: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        child = next(filter(None, (option.child(key) for option in hint.alternatives() if option.accepts(value))), None)
        if child is not None and contains_boolean(entry):
            keys, boolean, inner = _find_boolean(entry, child)
            return [str(key), *keys], boolean, inner
    return [], value, hint


def contains_boolean(value: Any) -> bool:
    """Return True for a boolean, or a list or mapping with a boolean at any depth."""
    if isinstance(value, dict):
        return any(map(contains_boolean, value.values()))
    return any(map(contains_boolean, value)) if isinstance(value, list | tuple) else isinstance(value, bool)


def _is_inside(path: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    return len(path) > len(outer) and path[: len(outer)] == outer


def _format(problem: _Problem) -> str:
    """Return `key=value: problem` with the fix."""
    name, value = ".".join(problem.path) or "params", problem.value
    if problem.type in ("extra_forbidden", "invalid_key"):
        sections = [option for option in problem.hint.alternatives() if option.is_section()]
        known = [key for section in sections for key in section.annotation.model_fields]
        *section_path, key = problem.path
        if problem.type == "invalid_key":
            section_name = ".".join(section_path) or "params"
            return f"{section_name}: the key {key} is not text. Known keys: {', '.join(known)}"
        return f"{name}: unknown key{suggestion(key, known)}. Known keys: {', '.join(known)}"
    if problem.type == "missing":
        meaning = f" ({problem.hint.description})" if problem.hint.description else ""
        return f"{name}: missing. Set it to {describe(problem.hint, problem.type)}{meaning}"
    if problem.is_key:
        return f"{name}: key {show_value(value)} is not allowed. Use {describe(problem.hint, problem.type)}"
    shown = "" if isinstance(value, dict) or problem.type == SECRET else f"={show_value(value)}"
    if problem.type in _OWN_TYPES:
        return f"{name}{shown}: {problem.message}"
    expected = describe(problem.hint, problem.type)
    if isinstance(value, bool):
        return f"{name}{shown}: a boolean is not allowed. Use {expected}{_quote(value, problem.hint)}"
    if isinstance(value, dict) and not problem.type.startswith("too_"):
        return f"{name}: a mapping is not allowed. Use {expected}"
    hint = suggestion(value, [str(word) for word in literals(problem.hint)]) if isinstance(value, str) else ""
    return f"{name}{shown}: expected {expected}{hint}"


_SHELL = " with the double quotes. In a shell, put single quotes around the option"


def _quote(value: bool, hint: Hint) -> str:
    """Return how to write a boolean as text, if the hint accepts text or a list of texts."""
    text, options = json.dumps(value), hint.alternatives()
    if any(option.annotation is str for option in options):
        return f'. If you mean the text "{text}", write "{text}"{_SHELL}'
    entries = [Hint(get_args(option.annotation)[0]) for option in options if get_origin(option.annotation) is list]
    accepts_text = any(option.annotation is str for entry in entries for option in entry.alternatives())
    return f'. If you mean the text "{text}", write ["{text}"]{_SHELL}' if accepts_text else ""
