"""Backbone families that PEFT methods support, without importing torch."""

from collections.abc import Iterable
from types import ModuleType

# Families whose layer names are known to the methods. In other families, the methods search for suitable layers.
KNOWN_FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
# Family of the networks that read volumes.
VOLUME = "volume"


def supports(method: ModuleType, family: str) -> bool:
    """Determine if a PEFT method supports a family.

    Args:
        method: a module of models/peft. An empty `SUPPORTED_FAMILIES` means every family. A module with
            `ALLOW_UNKNOWN_FAMILIES = True` also supports the families outside KNOWN_FAMILIES. A module with
            `VOLUMES = True` supports networks that read volumes.
        family: from `medtune.models.backbones.family`, or VOLUME.

    Returns:
        True if the method supports the family.
    """
    if not method.SUPPORTED_FAMILIES or family in method.SUPPORTED_FAMILIES:
        return True
    if family == VOLUME:
        return getattr(method, "VOLUMES", False)
    return family not in KNOWN_FAMILIES and getattr(method, "ALLOW_UNKNOWN_FAMILIES", False)


def supported(method: ModuleType) -> str:
    """Return the families that a method supports, as text for messages. Use it only for methods with restrictions."""
    if getattr(method, "ALLOW_UNKNOWN_FAMILIES", False):
        excluded = set(KNOWN_FAMILIES) - set(method.SUPPORTED_FAMILIES)
        return f"all timm families except {_join(excluded)}" if excluded else "all timm families"
    return f"only {_join(method.SUPPORTED_FAMILIES)}"


def _join(families: Iterable[str]) -> str:
    *first, last = sorted(families)
    return f"{', '.join(first)} and {last}" if first else last
