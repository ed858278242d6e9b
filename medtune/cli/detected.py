"""What `medtune init` finds in a folder of images."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class DetectedData:
    """What was detected.

    Attributes:
        settings: params that follow from it, by dotted key.
        findings: one line per fact, as (what, finding).
        warnings: what the user must decide or change.
        commands: suggested commands for that.
        classes: names of the classes in class folders or a table, sorted; empty where the source names them.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    findings: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    classes: tuple[str, ...] = ()
