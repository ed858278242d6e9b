"""Which PEFT method fits which family of backbones. Imports no torch."""

from types import ModuleType

# The families whose layers the methods' files know by name. Others are adapted by the layers found in them.
KNOWN_FAMILIES = ("vit", "convnext", "resnet", "mobilenet")


def supports(method: ModuleType, family: str) -> bool:
    """Return True if a method may be tried on a family.

    Args:
        method: a file of models/peft. With `OTHER_FAMILIES = True` it also takes families outside KNOWN_FAMILIES.
        family: as `medtune.models.backbones.family` gives it.
    """
    if not method.SUPPORTED_FAMILIES or family in method.SUPPORTED_FAMILIES:
        return True
    return family not in KNOWN_FAMILIES and getattr(method, "OTHER_FAMILIES", False)


def supported(method: ModuleType) -> str:
    """The families that a method supports, for messages."""
    others = ["other timm transformers"] if getattr(method, "OTHER_FAMILIES", False) else []
    return ", ".join([*sorted(method.SUPPORTED_FAMILIES), *others])
