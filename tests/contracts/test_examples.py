"""The message about a wrong type shows a valid example for each key that takes a text, a list or a mapping."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from medtune.benchmark.grid import BenchmarkParams
from medtune.config import registry
from medtune.config.expectations import Hint, describe
from medtune.config.schema import Params

PLUGINS = {
    "data.source": "medtune.data.sources",
    "model.head.kind": "medtune.models.heads",
    "model.peft.method": "medtune.models.peft",
    "task.kind": "medtune.tasks",
}
yaml = YAML(typ="safe")


def fields_of(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    """Yield each key of a section and its subsections that takes a text, a list or a mapping."""
    for name, field in model.model_fields.items():
        key, options = f"{prefix}.{name}".removeprefix("."), Hint.of(field).alternatives()
        for section in (option.annotation for option in options if option.is_section()):
            yield from fields_of(section, key)
        if any(option.takes_mapping() or takes_text_or_list(option) for option in options):
            yield key, field


def takes_text_or_list(option: Hint) -> bool:
    return option.annotation is str or get_origin(option.annotation) in (list, tuple)


def all_fields() -> list[tuple[str, FieldInfo]]:
    fields = [*fields_of(Params, ""), *fields_of(BenchmarkParams, "benchmark")]
    for key, package in PLUGINS.items():
        for name in registry.plugin_names(package):
            plugin = registry.load_plugin(package, name, key)
            fields += fields_of(plugin.Params, key.rpartition(".")[0])
    return list({(key, describe(Hint.of(field), "")): (key, field) for key, field in fields}.values())


FIELDS = all_fields()


def accepts(field: FieldInfo, value: Any) -> bool:
    """Return True if the type of the key accepts a value. Conditions on other keys are not checked."""
    annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValueError:
        return False
    return True


def examples_in(message: str) -> list[Any]:
    """Return the YAML values that follow `such as` in a message."""
    values = []
    for start in re.finditer(r"such as ", message):
        for part in re.split(r" or (?=[\[{])", message[start.end() :]):
            values.append(yaml.load(first_value(part)))
            if not re.fullmatch(r".*[\]}]", part):
                break
    return values


def first_value(text: str) -> str:
    """Return the list or mapping at the start of a text up to its closing bracket, or else the first word."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character in "[{") - (character in "]}")
        if depth == 0 and text[0] in "[{":
            return text[: position + 1]
    return re.match(r'"[^"]*"|[^,\s]+', text).group()


@pytest.mark.parametrize(("key", "field"), FIELDS, ids=[key for key, _ in FIELDS])
def test_wrong_type__message_has_a_valid_example(key, field):
    hint = Hint.of(field)
    message = describe(hint, "")
    shown = examples_in(message)
    wanted = sum(option.takes_mapping() or takes_text_or_list(option) for option in hint.alternatives())
    named = message.count("the name of a site")
    assert len(shown) + named >= wanted, message
    for value in shown:
        assert accepts(field, value), f"{value!r} in {message!r}"


def test_fields__cover_lists_mappings_and_sections():
    keys = {key for key, _ in FIELDS}
    assert {"evaluate.by", "data.label_map", "frozen", "frozen.monitor", "benchmark.data", "task.controls"} <= keys


@pytest.mark.parametrize("value", [7, ["x"], [1, 2, 3]])
def test_accepts__rejects_another_type(value):
    assert not accepts(Params.model_fields["evaluate"], value)
    assert not accepts(BenchmarkParams.model_fields["backbones"], value)
