"""Names of classes, columns and sites in params.yaml. A name may look like a number."""

import math
from typing import Annotated, Any

from pydantic import BeforeValidator


def to_name(value: Any) -> Any:
    """Return a name as text. YAML reads an unquoted 1 as a number, but a class may have this name.

    Args:
        value: parsed YAML. Lists and mappings are converted entry by entry.

    Returns:
        Numbers as text. Booleans, null, .nan and .inf are unchanged because their spelling is lost.
    """
    if isinstance(value, dict):
        return {to_name(key): to_name(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_name(entry) for entry in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return str(value) if is_number else value


Name = Annotated[str, BeforeValidator(to_name, json_schema_input_type=str | int | float)]
