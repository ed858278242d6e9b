"""Methods that the peft library provides: a configuration class there, and its fields."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

Apply = Callable[["nn.Module", Any], "nn.Module"]
Merge = Callable[["nn.Module"], "nn.Module"]


def method(config: str, fields: Callable[[Any], Mapping[str, Any]]) -> tuple[Apply, Merge]:
    """Make `apply` and `merge` of a method that adapts the usual target layers.

    Imports neither torch nor peft until one of them is called.

    Args:
        config: name of the configuration class in the peft library.
        fields: from the method's `Params` to that class's arguments.
    """

    def apply(backbone: "nn.Module", params: Any) -> "nn.Module":
        """Inject the change into the target layers; everything else is frozen."""
        import peft

        from medtune.models.blocks.peft_library import inject_adapter

        return inject_adapter(backbone, getattr(peft, config)(**fields(params)))

    return apply, merge


def merge(backbone: "nn.Module") -> "nn.Module":
    """Put the change into the backbone's own weights; no wrapper is left."""
    from medtune.models.blocks.peft_library import merge_adapter

    return merge_adapter(backbone)
