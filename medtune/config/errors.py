"""What a user's mistake becomes: one line."""

import difflib
import json
import re
import shlex
import unicodedata
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


class InputError(Exception):
    """A mistake in what the user gave: one line that names the thing, its value and what would be right.

    Command lines turn it into that line on stderr and exit code 2.
    """


class RunError(RuntimeError):
    """A run that failed, through no mistake in the params: one line that names the step, and what to do.

    Command lines turn it into that line on stderr and exit code 1.
    """


class DivergedError(RunError):
    """A training run whose loss is not finite."""


def suggestion(name: object, known: list[str]) -> str:
    """` (did you mean 'x'?)` where one of `known` looks like `name`, else an empty string."""
    close = difflib.get_close_matches(str(name), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def format_validation_error(error: "ValidationError", model: "type[BaseModel]", prefix: str = "") -> str:
    """Every problem pydantic found, each as `key is value: what would be right`.

    Args:
        error: what validating `model` raised.
        model: the section that was validated, for suggestions.
        prefix: dotted key under which the section stands.
    """
    return "; ".join(dict.fromkeys(_format_problem(problem, model, prefix) for problem in error.errors()))


def _format_problem(problem: Any, model: "type[BaseModel]", prefix: str) -> str:
    keys, fields, path = list(problem["loc"]), model.model_fields, []
    for depth, key in enumerate(keys):
        if depth and not fields:  # past the last section only union branches and list positions follow
            path += [str(key)] if isinstance(key, int) else []
            continue
        if depth and depth < len(keys) - 1 and str(key) not in fields:
            continue  # which of several sections it is taken for
        path.append(str(key))
        if problem["type"] != "extra_forbidden" or depth < len(keys) - 1:
            fields = _nested_fields(fields.get(str(key)))
    name = ".".join([prefix, *path] if prefix else path) or "params"
    if problem["type"] == "extra_forbidden":
        known = list(fields)
        return f"{name}: unknown key{suggestion(keys[-1], known)}; known here: {', '.join(known)}"
    if problem["type"] == "missing":
        return f"{name} is missing"
    shown = "" if isinstance(problem["input"], dict) or problem["type"] == "secret" else f" is {problem['input']!r}"
    return f"{name}{shown}: {problem['msg'].removeprefix('Value error, ')}"


def _nested_fields(field: Any) -> dict[str, Any]:
    annotation = getattr(field, "annotation", None)
    sections = [one for one in (annotation, *get_args(annotation)) if hasattr(one, "model_fields")]
    return {name: one for section in sections for name, one in section.model_fields.items()}


def set_option(key: str, value: object) -> str:
    """The option `--set key=value` as one types it in a shell, for messages that name a fix.

    Args:
        key: dotted params key.
        value: None, a string, or lists and mappings of strings.
    """
    shown = json.dumps(value, ensure_ascii=False)
    if unicodedata.normalize("NFC", shown) != shown or not shown.isprintable():
        shown = "".join(c if c.isascii() else _escape(c) for c in shown)  # two texts may look the same
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_./][\w./-]*", value) and value.lower() not in _YAML_WORDS
    return f"--set {shlex.quote(f'{key}={value if plain else shown}')}"


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# Words that YAML does not read as text.
_YAML_WORDS = ("null", "true", "false", "~", ".nan", ".inf")
