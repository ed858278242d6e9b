"""PEFT methods of the peft library. A method needs only a configuration class of the library and its arguments."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

Inject = Callable[["nn.Module", Any], "nn.Module"]
Merge = Callable[["nn.Module"], "nn.Module"]


def method(config: str, fields: Callable[[Any], Mapping[str, Any]]) -> tuple[Inject, Merge]:
    """Create `inject` and `merge` for a method that adapts the default target layers (`target_layers.py`).

    torch and peft are imported only when one of the two functions is called.

    Args:
        config: name of the configuration class in the peft library.
        fields: maps the method's `Params` to the arguments of that class.

    Returns:
        The functions `inject` and `merge`.
    """

    def inject(backbone: "nn.Module", params: Any) -> "nn.Module":
        """Add the trainable updates to the target layers and freeze everything else."""
        import peft

        from medtune.models.blocks.peft_library import inject_adapter

        return inject_adapter(backbone, getattr(peft, config)(**fields(params)))

    return inject, merge


def merge(backbone: "nn.Module") -> "nn.Module":
    """Merge the updates into the weights of the backbone and remove all wrappers."""
    from medtune.models.blocks.peft_library import merge_adapter

    return merge_adapter(backbone)
