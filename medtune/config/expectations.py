"""Values that a type annotation of params accepts, described for messages."""

import json
import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from medtune.config.errors import show_value


@dataclass(frozen=True)
class Hint:
    """Type annotation of a key, with its constraints.

    Attributes:
        annotation: type of the value.
        constraints: pydantic's constraints, such as a lower limit.
        description: meaning of the key.
        examples: values that a message shows, as text.
    """

    annotation: Any
    constraints: tuple[Any, ...] = ()
    description: str = ""
    examples: tuple[Any, ...] = ()

    @classmethod
    def of(cls, field: FieldInfo) -> "Hint":
        """Return the hint of a section's field. Without examples, its default is the example."""
        default = field.default
        is_example = default not in (None, PydanticUndefined, "", [], {}) and not isinstance(default, BaseModel)
        examples = field.examples or ([default] if is_example else [])
        return cls(field.annotation, tuple(field.metadata), field.description or "", tuple(examples))

    def alternatives(self) -> "list[Hint]":
        """Return the members of a union, or the hint itself."""
        annotation, constraints = self.annotation, self.constraints
        if get_origin(annotation) is Annotated:
            inner, *extra = get_args(annotation)
            return replace(self, annotation=inner, constraints=(*constraints, *_flatten(extra))).alternatives()
        if get_origin(annotation) in (Union, types.UnionType):
            members = (replace(self, annotation=member) for member in get_args(annotation))
            return [leaf for member in members for leaf in member.alternatives()]
        return [self]

    def is_section(self) -> bool:
        """Return True for a pydantic model."""
        return isinstance(self.annotation, type) and issubclass(self.annotation, BaseModel)

    def is_mapping(self) -> bool:
        """Return True for a dict with types of keys and values."""
        return get_origin(self.annotation) is dict

    def takes_mapping(self) -> bool:
        """Return True for a section or a dict."""
        return self.is_section() or (get_origin(self.annotation) or self.annotation) is dict

    def accepts(self, value: Any) -> bool:
        """Return True if `value` is a dict and the hint a mapping or section, or if `value` is a list otherwise."""
        return isinstance(value, dict if self.is_mapping() or self.is_section() else list)

    def child(self, key: str | int) -> "Hint | None":
        """Return the hint of a section's field or of an entry, or None if there is no such key."""
        if self.is_section():
            field = self.annotation.model_fields.get(key)
            return Hint.of(field) if field else None
        arguments = get_args(self.annotation)
        if self.is_mapping():
            entries = (entry for example in self._examples_of(dict) for entry in example.values())
            return Hint(arguments[1], examples=tuple(entries))
        if get_origin(self.annotation) in (list, tuple) and isinstance(key, int):
            entries = (entry for example in self._examples_of(list) for entry in example)
            return Hint(arguments[min(key, len(arguments) - 1)], examples=tuple(entries))
        return None

    def of_keys(self) -> "Hint":
        """Return the hint of the keys of a mapping."""
        names = (name for example in self._examples_of(dict) for name in example)
        return Hint(get_args(self.annotation)[0], examples=tuple(names))

    def such_as(self, *kinds: type) -> str:
        """Return ` such as X or Y`, from the first two examples of these types. Without examples, an empty string."""
        shown = list(dict.fromkeys(_as_yaml(example) for example in self._examples_of(*kinds)))
        return f" such as {' or '.join(shown[:2])}" if shown else ""

    def example(self) -> Any:
        """Return a value that the hint accepts, or None if there is neither an example nor a choice."""
        if self.examples:
            return self.examples[0]
        for option in self.alternatives():
            if option.is_section():
                return _section_example(option.annotation.model_fields)
            if get_origin(option.annotation) is Literal:
                return get_args(option.annotation)[0]
        return None

    def _examples_of(self, *kinds: type) -> list[Any]:
        return [example for example in self.examples if isinstance(example, kinds)]


def describe(hint: Hint, problem: str) -> str:
    """Describe the values that a hint accepts, for a message.

    Args:
        hint: type annotation of the key.
        problem: type of the error that pydantic reports.

    Returns:
        Text such as `an integer from 1 to 8, or "online"`.
    """
    if problem == "int_parsing_size":
        return "an integer of at most 64 bits"
    options = hint.alternatives()
    types = [option for option in options if not _is_literal(option)]
    texts = [text for option in types if not option.takes_mapping() for text in _describe_type(option)]
    mappings = [_describe_kind(option) for option in types if option.takes_mapping()]
    # Without quotes, words such as error and reject would look like a part of the sentence.
    words = [json.dumps(word) if isinstance(word, str) else show_value(word) for word in literals(hint)]
    if problem == "finite_number":
        texts = [text.replace("a number", "a finite number") for text in texts]
    if len(words) > 2 and not types:
        return f"one of {', '.join(words)}"
    # The description of a mapping may contain a list, so the words precede it.
    null = [word for word in words if word == "null"]
    names = [word for word in words if word != "null"]
    return _join(list(dict.fromkeys([*texts, *names, *mappings, *null])), "or")


def _join(parts: list[str], conjunction: str) -> str:
    """Join by commas and a conjunction. If a part has three or more words, a comma precedes the conjunction."""
    *first, last = parts
    comma = "," if any(part.count(" ") > 1 for part in parts) else ""
    return f"{', '.join(first)}{comma} {conjunction} {last}" if first else last


def _describe_type(hint: Hint) -> list[str]:
    if hint.annotation is bool:
        return ["true", "false"]
    return [_describe_kind(hint)]


def _describe_kind(hint: Hint) -> str:
    """Describe the values of one type, for example `an integer from 1 to 8`."""
    kind = get_origin(hint.annotation) or hint.annotation
    if hint.takes_mapping() and (shown := hint.such_as(dict)):
        return f"a mapping{shown}"
    limits = {name: value for name, value in _limits(hint.constraints) if value is not None}
    if kind in (int, float):
        noun = "a number" if kind is float else "an even integer" if limits.get("multiple_of") == 2 else "an integer"
        return f"{noun}{_range(limits)}"
    if kind is str:
        return limits.get("description") or f"a string{hint.such_as(str)}"
    if kind is tuple:
        return _describe_tuple(hint)
    if kind is list:
        noun = "a nonempty list" if "min_length" in limits else "a list"
        allowed = ", ".join(map(show_value, literals(Hint(get_args(hint.annotation)[0]))))
        return f"{noun}{hint.such_as(list)}{f' (allowed entries: {allowed})' if allowed else ''}"
    if hint.is_section():
        return _describe_section(hint.annotation.model_fields)
    return "another value"


def _describe_tuple(hint: Hint) -> str:
    """Return `a list [low, high] such as [0, 10]`. The names of the entries start the description of the key."""
    names = re.match(r"\[[^]]+\]", hint.description)
    entries = names.group() if names else f"of {len(get_args(hint.annotation))} numbers"
    return f"a list {entries}{hint.such_as(list)}"


def _describe_section(fields: dict[str, FieldInfo]) -> str:
    """Describe a mapping by its keys and an example. If keys are optional, the example comes first."""
    names, example = list(fields), _section_example(fields)
    keys = f"key{'s' if len(names) > 1 else ''} {_join(names, 'and')}"
    if not example or all(field.is_required() for field in fields.values()) or len(names) == 1:
        return f"a mapping with the {keys}{f', such as {_as_yaml(example)}' if example else ''}"
    return f"a mapping such as {_as_yaml(example)} (known {keys})"


def _section_example(fields: dict[str, FieldInfo]) -> dict[str, Any]:
    """Return the required keys with examples, or else the first key with an example."""
    values = {name: Hint.of(field).example() for name, field in fields.items()}
    required = {name: value for name, value in values.items() if fields[name].is_required()}
    return required or dict([pair for pair in values.items() if pair[1] is not None][:1])


def _as_yaml(value: Any) -> str:
    """Return a value as a user writes it in YAML on one line: {age: [40, 60]}."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{show_value(key)}: {_as_yaml(entry)}' for key, entry in value.items())}}}"
    return f"[{', '.join(map(_as_yaml, value))}]" if isinstance(value, list) else show_value(value)


def _range(limits: dict[str, Any]) -> str:
    """Describe the limits of a number, for example ` from 1 to 8`."""
    shown = {name: _show_limit(limits[name]) for name in ("ge", "gt", "le", "lt") if name in limits}
    ge, gt, le, lt = (shown.get(name) for name in ("ge", "gt", "le", "lt"))
    if ge and le:
        text = f" from {ge} to {le}"
    else:
        lower = f"of at least {ge}" if ge else f"above {gt}" if gt else ""
        at_most = "at most" if lower else "of at most"
        upper = f"{at_most} {le}" if le else f"below {lt}" if lt else ""
        text = f" {' and '.join(filter(None, (lower, upper)))}".rstrip()
    factor = limits.get("multiple_of", 2)  # the noun "an even integer" already states a factor of 2
    return text if factor == 2 else f"{text} that is a multiple of {factor}"


def _show_limit(value: float) -> str:
    text = f"{value:g}"
    return f"{value:,.0f}" if "e+" in text else text


def _limits(constraints: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for constraint in constraints:
        for name in ("ge", "gt", "le", "lt", "multiple_of", "min_length", "pattern", "description"):
            yield name, getattr(constraint, name, None)


def _flatten(constraints: Sequence[Any]) -> Iterator[Any]:
    for constraint in constraints:
        yield constraint
        yield from constraint.metadata if isinstance(constraint, FieldInfo) else ()


def _is_literal(hint: Hint) -> bool:
    return hint.annotation is type(None) or get_origin(hint.annotation) is Literal


def literals(hint: Hint) -> list[Any]:
    """Return the words and other single values that a hint accepts, such as "auto" and None."""
    options = filter(_is_literal, hint.alternatives())
    return [word for option in options for word in (get_args(option.annotation) or (None,))]
