"""Result of data set detection in `medtune init`."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class DetectedData:
    """Detected properties of a data set.

    Attributes:
        settings: resulting params by dotted key.
        findings: one line per property, as (property, value).
        warnings: problems that the user must decide or fix.
        commands: suggested commands for the warnings.
        classes: sorted names of the classes in class folders or a table. Empty if the data source defines them.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    findings: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    classes: tuple[str, ...] = ()
