"""Invalid values for every key of params.yaml, derived from its JSON schema."""

import math
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from medtune.config import registry
from medtune.config.schema import Params
from tests.robustness.mistakes.mistake import Mistake, Words, mistakes

PLUGINS = {
    "data.source": "medtune.data.sources",
    "model.head.kind": "medtune.models.heads",
    "model.peft.method": "medtune.models.peft",
}
PLUGIN_SECTIONS = [key.rpartition(".")[0] for key in PLUGINS]
VALUES = ("many", "12", "1.5", "true", "null", ".nan", ".inf", "-.inf", "[1, 2]", "{a: 1}")
yaml = YAML(typ="safe")


def all_keys() -> Iterator[Mistake]:
    """Yield each invalid type, each value outside the limits and a misspelt name of every key."""
    yield from section("", Params.model_json_schema())
    for parent, (key, package) in zip(PLUGIN_SECTIONS, PLUGINS.items(), strict=True):
        names = registry.plugin_names(package)
        for name in names:
            plugin = registry.load_plugin(package, name, key)
            yield from section(parent, plugin.Params.model_json_schema(), "--set", f"{key}={name}")
        invalid: dict[str, Words] = {
            f"{key}={value}": (key, value) for value in ("nonesuch", "7", "Cdtm", f"{names[-1][:-1]}q")
        }
        invalid |= {f"{key}=null": parent, f"{key}=[1]": (key, "1")}
        yield from mistakes("train", invalid, sets=True)


def section(prefix: str, schema: dict[str, Any], *options: str) -> Iterator[Mistake]:
    """Yield the mistakes in all keys of a section. Each plugin has a schema of its section."""
    for name, key_schema in schema["properties"].items():
        key = f"{prefix}.{name}".removeprefix(".")
        if key in PLUGINS:  # in all_keys
            continue
        alternatives = [resolve(option, schema) for option in key_schema.get("anyOf", [key_schema])]
        for inner in alternatives:
            if "properties" in inner and key not in PLUGIN_SECTIONS:
                yield from section(key, inner | {"$defs": schema["$defs"]}, *options)
        validator = Draft202012Validator({**key_schema, "$defs": schema.get("$defs", {})})
        for value in dict.fromkeys((*VALUES, *outside_limits(alternatives))):
            parsed = yaml.load(value)
            infinite = isinstance(parsed, float) and not math.isfinite(parsed)
            if infinite or not validator.is_valid(parsed):
                shown = value if isinstance(parsed, str) else ""
                yield from mistakes("train", {f"{key}={value}": (key, shown)}, *options, sets=True)
        yield from mistakes("train", {f"{key}q=1": (f"{key}q", "unknown key", f"'{name}'")}, *options, sets=True)


def resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Return the schema that `$ref` names."""
    return root["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def outside_limits(alternatives: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the nearest invalid value of each limit."""
    for limit, step in {"minimum": -1, "exclusiveMinimum": 0, "maximum": 1, "exclusiveMaximum": 0}.items():
        yield from (str(schema[limit] + step) for schema in alternatives if limit in schema)
