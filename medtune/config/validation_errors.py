"""Pydantic's validation errors in our own wording, formatted as a single line."""

import json
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from medtune.config.errors import show_value, suggestion

BOOLEAN = "boolean"
SECRET = "secret"
_PARAM = "param"
_OWN_TYPES = ("value_error", _PARAM, SECRET)
_SPECIFIC_TYPES = (*_OWN_TYPES, "finite_number")


def param_error(key: str, value: object, message: str) -> PydanticCustomError:
    """Return the error of one key, for a validator of its section.

    Args:
        key: key within the section.
        value: its value.
        message: the problem and how to fix it.
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
    # pydantic reports one problem per member of a union. The first specific one describes the key.
    first: dict[Any, _Problem] = {}
    for problem in sorted(problems, key=lambda problem: problem.type not in _SPECIFIC_TYPES):
        if not any(_is_inside(other.path, problem.path) for other in problems):
            first.setdefault((problem.path, show_value(problem.value) if problem.is_key else None), problem)
    shown = list(first.values())
    return "; ".join(_format(problem) for problem in problems if any(problem is other for other in shown))


@dataclass(frozen=True)
class _Hint:
    """Type annotation with its constraints."""

    annotation: Any
    constraints: tuple[Any, ...] = ()
    description: str = ""

    def alternatives(self) -> "list[_Hint]":
        """Return the members of a union, or the hint itself."""
        annotation, constraints = self.annotation, self.constraints
        if get_origin(annotation) is Annotated:
            inner, *extra = get_args(annotation)
            return _Hint(inner, (*constraints, *_flatten(extra))).alternatives()
        if get_origin(annotation) in (Union, types.UnionType):
            return [leaf for member in get_args(annotation) for leaf in _Hint(member, constraints).alternatives()]
        return [self]

    def is_section(self) -> bool:
        """Return True for a pydantic model."""
        return isinstance(self.annotation, type) and issubclass(self.annotation, BaseModel)

    def is_mapping(self) -> bool:
        """Return True for a dict with types of keys and values."""
        return get_origin(self.annotation) is dict

    def accepts(self, value: Any) -> bool:
        """Return True if the hint is a mapping and `value` is one, or both are lists."""
        return isinstance(value, dict if self.is_mapping() or self.is_section() else list)

    def child(self, key: str | int) -> "_Hint | None":
        """Return the hint of a section's field or of an entry, or None if there is no such key."""
        if self.is_section():
            field = self.annotation.model_fields.get(key)
            return _Hint(field.annotation, tuple(field.metadata), field.description or "") if field else None
        arguments = get_args(self.annotation)
        if self.is_mapping():
            return _Hint(arguments[1])
        if get_origin(self.annotation) in (list, tuple) and isinstance(key, int):
            return _Hint(arguments[min(key, len(arguments) - 1)])
        return None


@dataclass(frozen=True)
class _Problem:
    type: str
    path: tuple[str, ...]
    value: Any
    message: str
    hint: _Hint
    is_key: bool = False


def _locate(problem: Any, model: type[BaseModel], prefix: str) -> _Problem:
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
    hint, path, in_union = _Hint(model), [prefix] if prefix else [], False
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
        hint = next(_Hint(get_args(option.annotation)[0]) for option in hint.alternatives() if option.is_mapping())
    if kind == BOOLEAN:
        keys, value, hint = _find_boolean(value, hint)
        path += keys
    if kind == _PARAM:
        tail, value = [context["key"]], context["value"]
    if kind == "union_tag_invalid":
        tail, value = [context["discriminator"].strip("'")], context["tag"]
        tags = (tag.strip("'") for tag in context["expected_tags"].split(", "))
        hint = _Hint(Literal.__getitem__(tuple(tags)))
    return _Problem(kind, (*path, *tail), value, message, hint, is_key)


def _find_boolean(value: Any, hint: _Hint) -> tuple[list[str], Any, _Hint]:
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
        return f"{name}: missing. Set it to {_describe(problem)}{meaning}"
    if problem.is_key:
        return f"{name}: key {show_value(value)} is not allowed. Use {_describe(problem)}"
    shown = "" if isinstance(value, dict) or problem.type == SECRET else f"={show_value(value)}"
    if problem.type in _OWN_TYPES:
        return f"{name}{shown}: {problem.message}"
    if problem.type == BOOLEAN:
        got = f", got a boolean{_quote(value, problem.hint)}" if isinstance(value, bool) else ""
        return f"{name}{shown}: expected {_describe(problem)}{got}"
    words = [str(word) for word in _literals(problem.hint)]
    got = ", got a mapping" if isinstance(value, dict) and not problem.type.startswith("too_") else ""
    return f"{name}{shown}: expected {_describe(problem)}{suggestion(value, words) if isinstance(value, str) else got}"


def _describe(problem: _Problem) -> str:
    if problem.type == "int_parsing_size":
        return "an integer of at most 64 bits"
    options = problem.hint.alternatives()
    texts = [text for option in options if not _is_literal(option) for text in _describe_type(option)]
    literals = _literals(problem.hint)
    # Without quotes, words such as error and reject would look like a part of the sentence.
    words = [json.dumps(word) if isinstance(word, str) else show_value(word) for word in literals]
    if problem.type == "finite_number":
        texts = [text.replace("a number", "a finite number") for text in texts]
    if len(words) > 2 and not texts:
        return f"one of {', '.join(words)}"
    return _join(list(dict.fromkeys([*texts, *words])), "or")


def _join(parts: list[str], conjunction: str) -> str:
    """Join by commas and a conjunction. If a part has three or more words, a comma precedes the conjunction."""
    *first, last = parts
    comma = "," if any(part.count(" ") > 1 for part in parts) else ""
    return f"{', '.join(first)}{comma} {conjunction} {last}" if first else last


def _describe_type(hint: _Hint) -> list[str]:
    if hint.annotation is bool:
        return ["true", "false"]
    return [_describe_kind(hint)]


def _describe_kind(hint: _Hint) -> str:
    kind = get_origin(hint.annotation) or hint.annotation
    limits = {name: value for name, value in _limits(hint.constraints) if value is not None}
    if kind in (int, float):
        return f"{'an integer' if kind is int else 'a number'}{_range(limits)}"
    if kind is str:
        return f"a string of {limits['description']}" if "pattern" in limits else "a string"
    if kind is tuple:
        return f"a list of {len(get_args(hint.annotation))} entries"
    if kind in (list, dict):
        noun = "list" if kind is list else "mapping"
        return f"a {noun} with at least {limits['min_length']} entry" if "min_length" in limits else f"a {noun}"
    if hint.is_section():
        return _describe_section(hint.annotation.model_fields)
    return "another value"


def _describe_section(fields: dict[str, FieldInfo]) -> str:
    if len(fields) > 1:
        return f"a mapping with the keys {_join(list(fields), 'and')}"
    [(key, field)] = fields.items()
    example = f", such as {{{key}: {field.examples[0]}}}" if field.examples else ""
    return f"a mapping with the key {key}{example}"


def _range(limits: dict[str, Any]) -> str:
    ge, gt, le, lt = (limits.get(name) for name in ("ge", "gt", "le", "lt"))
    if ge is not None and le is not None:
        text = f" from {ge:g} to {le:g}"
    else:
        lower = f"of at least {ge:g}" if ge is not None else f"above {gt:g}" if gt is not None else ""
        upper = f"of at most {le:g}" if le is not None else f"below {lt:g}" if lt is not None else ""
        text = f" {' and '.join(filter(None, (lower, upper)))}".rstrip()
    return f"{text}, a multiple of {limits['multiple_of']}" if "multiple_of" in limits else text


def _limits(constraints: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for constraint in constraints:
        for name in ("ge", "gt", "le", "lt", "multiple_of", "min_length", "pattern", "description"):
            yield name, getattr(constraint, name, None)


def _flatten(constraints: Sequence[Any]) -> Iterator[Any]:
    for constraint in constraints:
        yield constraint
        yield from constraint.metadata if isinstance(constraint, FieldInfo) else ()


def _is_literal(hint: _Hint) -> bool:
    return hint.annotation is type(None) or get_origin(hint.annotation) is Literal


def _literals(hint: _Hint) -> list[Any]:
    options = filter(_is_literal, hint.alternatives())
    return [word for option in options for word in (get_args(option.annotation) or (None,))]


def _quote(value: bool, hint: _Hint) -> str:
    """Return how to write a boolean as text, if the hint accepts text or a list of texts."""
    text, options = json.dumps(value), hint.alternatives()
    if any(option.annotation is str for option in options):
        return f'. If you mean the text "{text}", put it in quotes'
    entries = [_Hint(get_args(option.annotation)[0]) for option in options if get_origin(option.annotation) is list]
    accepts_text = any(option.annotation is str for entry in entries for option in entry.alternatives())
    return f'. If you mean the text "{text}", write ["{text}"]' if accepts_text else ""
