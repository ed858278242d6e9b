"""Result of the detection of a data set in `medtune init`."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class DetectedData:
    """Detected properties of a data set.

    Attributes:
        settings: params for the data set, by dotted key.
        findings: properties of the data set, as pairs of a name and a description.
        warnings: problems that the user must decide or fix.
        commands: commands that fix the problems.
        classes: sorted names of the classes. Empty if they are not from class folders or a table.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    findings: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    classes: tuple[str, ...] = ()
