"""Pretrained weights of networks that read volumes."""

from torch import Tensor, nn

from medtune.config.errors import InputError
from medtune.models.weights import StateDicts, print_once

# Prefixes that wrappers add to all names.
PREFIXES = ("", "module.", "_orig_mod.", "net.", "network.")
# Prefixes of second names of MONAI's modules, and of outputs that are used only in training.
IGNORED = ("skip_layers.", "deep_supervision_heads.")


def load_parts(network: nn.Module, backbone: nn.Module, states: StateDicts, name: str, setting: str) -> None:
    """Load the best-fitting state dict. It must contain all tensors of the encoder.

    Tensors of the decoder keep their random weights if the state dict lacks them or has another shape, for example for
    other classes. A message lists these tensors.

    Args:
        network: the complete network, whose tensors have the names of the file; changed in place.
        backbone: its encoder, which shares the modules of `network`.
        states: from `read_weights`.
        name: name of the network, for messages.
        setting: value of `model.weights`, for messages.

    Raises:
        InputError: the state dict lacks a tensor of the encoder or has unknown tensors, or a value is not finite.
    """
    own: dict[str, Tensor] = network.state_dict(keep_vars=True)
    state = max(
        (_without_prefix(state, prefix) for _, state in states for prefix in PREFIXES),
        key=lambda state: sum(key in own and own[key].shape == value.shape for key, value in state.items()),
    )
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    # Tensors are compared by id, because encoder and network have different names for the same tensor.
    loaded = {id(own[key]) for key in fitting}
    needed = {id(tensor) for tensor in backbone.state_dict(keep_vars=True).values()}
    unknown = [key for key in state if key not in own and not key.startswith(IGNORED)]
    missing = [key for key, tensor in own.items() if id(tensor) not in loaded]
    if faults := [key for key in missing if id(own[key]) in needed] or unknown:
        raise InputError(
            f"model.weights={setting}: it does not fit {name}: {_describe(faults[0], own, state)}. Set model.backbone "
            "and model.backbone_args to the network of this file, or use another file"
        )
    if broken := next((key for key in sorted(fitting) if not fitting[key].isfinite().all()), None):
        raise InputError(f"model.weights={setting}: {broken} contains NaN or infinite values. Use another file")
    network.load_state_dict({key: value.to(own[key].dtype) for key, value in fitting.items()}, strict=False)
    if random := [key for key in missing if not key.startswith(IGNORED)]:
        shown = ", ".join(random[:4]) + (f" and {len(random) - 4} more" if len(random) > 4 else "")
        print_once(f"model.weights={setting}: random weights for {shown}")


def _without_prefix(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items()}


def _describe(key: str, own: dict[str, Tensor], state: dict[str, Tensor]) -> str:
    """Describe how `key` differs between the network's tensors `own` and the file's tensors `state`."""
    if key not in own:
        return f"the network has no {key}"
    if key not in state:
        return f"the file has no {key}"
    return f"{key} has the shape {list(state[key].shape)}, expected {list(own[key].shape)}"
