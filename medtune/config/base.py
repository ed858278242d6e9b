"""What every part of params.yaml has in common: no unknown key, no infinite number, no `true` for a number."""

from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator

from medtune.config.errors import InputError


class BaseParams(BaseModel):
    """A part that is told from others by one of its keys: pydantic lets no validator stand before that one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StrictParams(BaseParams):
    """A part of params.yaml: unknown keys refused, values immutable once read."""

    REMOVED: ClassVar[dict[str, str]] = {}
    """Keys of earlier versions, as `section.key`, with the sentences that say what to do instead."""

    @model_validator(mode="before")
    @classmethod
    def _name_what_replaces_a_key(cls, values: Any) -> Any:
        for name, advice in cls.REMOVED.items():
            key = name.rpartition(".")[2]
            if isinstance(values, dict) and key in values and key not in cls.model_fields:
                raise InputError(f"{name}={values[key]}: {advice}")
        return values

    @field_validator("*", mode="before")
    @classmethod
    def _reject_bool_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic takes true for 1: `epochs: true` would train one epoch.
        if _contains_bool(value) and not _accepts_bool(cls.model_fields[info.field_name or ""].annotation):
            raise ValueError("neither true nor false is meant here; put a name in quotes")
        return value


def renamed(section: str, **names: str) -> dict[str, str]:
    """Return `StrictParams.REMOVED` for keys of `section` that have a new name, as `old="new"`."""
    return {f"{section}.{old}": f"renamed. Use {section}.{new}." for old, new in names.items()}


def _contains_bool(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_contains_bool, value.values()))
    return any(map(_contains_bool, value)) if isinstance(value, list | tuple) else isinstance(value, bool)


def _accepts_bool(annotation: Any) -> bool:
    inner = isinstance(annotation, type) and issubclass(annotation, BaseModel)  # says so itself, key by key
    return annotation in (bool, Any) or inner or any(map(_accepts_bool, get_args(annotation)))
