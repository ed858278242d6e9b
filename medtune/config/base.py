"""Base classes of all sections of params.yaml."""

from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from medtune.config.errors import InputError, show_value
from medtune.config.validation_errors import BOOLEAN, contains_boolean


class BaseParams(BaseModel):
    """Base of all sections, without "before" validators.

    Members of a discriminated union inherit from this class directly, because pydantic does not allow such validators
    on the discriminator.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StrictParams(BaseParams):
    """Immutable section of params.yaml. It rejects unknown keys, infinite numbers, NaN and misplaced booleans."""

    REMOVED: ClassVar[dict[str, str]] = {}
    """Keys of earlier versions, as `section.key`, with a message that names the replacement."""

    @model_validator(mode="before")
    @classmethod
    def _reject_removed_keys(cls, values: Any) -> Any:
        for name, advice in cls.REMOVED.items():
            key = name.rpartition(".")[2]
            if isinstance(values, dict) and key in values and key not in cls.model_fields:
                raise InputError(f"{name}={show_value(values[key])}: {advice}")
        return values

    @field_validator("*", mode="before")
    @classmethod
    def _reject_bool_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic reads true as 1, and `epochs: true` would train one epoch.
        if contains_boolean(value) and not _accepts_bool(cls.model_fields[info.field_name or ""].annotation):
            raise PydanticCustomError(
                BOOLEAN, "a boolean is not allowed here. If you mean a name such as on or no, put it in quotes"
            )
        return value


def renamed(section: str, **names: str) -> dict[str, str]:
    """Return `StrictParams.REMOVED` for renamed keys of `section`. Each argument is `old_name="new_name"`."""
    return {f"{section}.{old}": f"renamed. Use {section}.{new}." for old, new in names.items()}


def _accepts_bool(annotation: Any) -> bool:
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)  # a section checks its own keys
    return annotation in (bool, Any) or is_section or any(map(_accepts_bool, get_args(annotation)))
