"""A wrong value for every key of params.yaml, drawn from what the schema says of the key."""

from collections.abc import Iterator
from typing import Any

from medtune.config import registry
from medtune.config.schema import Params
from torture.wrong.expected_errors import Case

COMMAND = "train"
PLUGINS = {"data": ("medtune.data.sources", "source"), "model.head": ("medtune.models.heads", "kind"),
           "model.peft": ("medtune.models.peft", "method")}  # fmt: skip
# Free mappings and lists, whose members the schema does not name.
CANDIDATES: dict[str, tuple[Any, ...]] = {
    "integer": ("many", 1.5, True, ".nan", ".inf", "[1, 2]", "{a: 1}"),
    "number": ("many", True, ".nan", ".inf", "-.inf", "[1, 2]", "{a: 1}"),
    "string": (12, 1.5, True, "[1, 2]", "{a: 1}"),
    "boolean": ("maybe", 7, "[1, 2]", "{a: 1}"),
    "array": ("many", 7, "{a: 1}"),
    "object": ("many", 7, "[1, 2]"),
}
KINDS = {"many": "string", "maybe": "string", 12: "integer", 7: "integer", 1.5: "number", ".nan": "number",
         ".inf": "number", "-.inf": "number", "[1, 2]": "array", "{a: 1}": "object"}  # fmt: skip


def cases() -> Iterator[Case]:
    """Every key with wrong types, outside its range, null and misspelt; every section as no section."""
    yield from _section("", Params.model_json_schema(), ())
    for key, (package, discriminator) in PLUGINS.items():
        for name in registry.plugin_names(package):
            plugin = registry.load_plugin(package, name, key)
            chosen = (f"{key}.{discriminator}={name}",)
            yield from _section(key, plugin.Params.model_json_schema(), chosen)
        for wrong in ("nonesuch", "7", "null", "[1]", "Cdtm"):
            says = (
                key if wrong in ("null",) else f"{key}.{discriminator}",
                wrong.strip("[]") if wrong != "null" else "",
            )
            yield _case(f"{key}.{discriminator}", wrong, (), says)
        first = registry.plugin_names(package)[-1]
        yield _case(f"{key}.{discriminator}", first[:-1] + "q", (), (f"{key}.{discriminator}", "Choose one of"))


def _section(prefix: str, schema: dict[str, Any], chosen: tuple[str, ...]) -> Iterator[Case]:
    defs = schema.get("$defs", {})
    names = [discriminator for _, discriminator in PLUGINS.values()]
    for key, field in schema["properties"].items():
        path = f"{prefix}.{key}" if prefix else key
        if path in PLUGINS or key in names:  # a plugin's own schema says what is in it
            continue
        options = [_resolve(option, defs) for option in field.get("anyOf", [field])]
        inner = [option for option in options if "properties" in option]
        if inner:
            yield _case(path, "3", chosen, (path,))
            yield _case(path, "[1]", chosen, (path,))
            yield from _section(path, {**inner[0], "$defs": defs}, chosen)
        else:
            for value in _wrong(options):
                shown = str(value) if KINDS.get(value) == "string" and value is not True else ""
                yield _case(path, value, chosen, (path, shown))
        yield _case(path + "q", 1, chosen, (path + "q", "unknown key", f"'{key}'"))


def _resolve(option: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in option:
        return defs[option["$ref"].rpartition("/")[2]]
    if len(option.get("allOf", ())) == 1:
        return _resolve(option["allOf"][0], defs)
    return option


def _wrong(options: list[dict[str, Any]]) -> Iterator[Any]:
    kinds = {"string" if "enum" in o or "const" in o else o.get("type") for o in options}
    closed = all("enum" in o or "const" in o or o.get("type") != "string" for o in options)
    seen: set[str] = set()
    for kind in sorted(kind for kind in kinds if kind in CANDIDATES):
        for value in CANDIDATES[kind]:
            of = "boolean" if value is True else KINDS[value]
            allowed = of in kinds and not (of == "string" and closed)
            if kinds & {"number", "integer"} and value in (".nan", ".inf", "-.inf"):
                allowed = False
            if (of == "integer" and "number" in kinds) or (of == "array" and "array" in kinds):
                allowed = True
            if (of == "object" and "object" in kinds) or str(value) in seen:
                continue
            if not allowed:
                seen.add(str(value))
                yield value
    if "null" not in kinds:
        yield "null"
    for option in options:
        if "minimum" in option:
            yield option["minimum"] - 1
        if "exclusiveMinimum" in option:
            yield option["exclusiveMinimum"]
        if "maximum" in option and not ("string" in kinds and option["maximum"] > 1e6):
            yield option["maximum"] + 1
        if "exclusiveMaximum" in option:
            yield option["exclusiveMaximum"]


def _case(path: str, value: Any, chosen: tuple[str, ...], says: tuple[str, ...]) -> Case:
    text = "true" if value is True else str(value)
    words = tuple(word for one in (*chosen, f"{path}={text}") for word in ("--set", one))
    name = " ".join((*(one.rpartition("=")[2] for one in chosen), f"{path}={text}"))
    return Case(name, COMMAND, words, tuple(word for word in says if word))
