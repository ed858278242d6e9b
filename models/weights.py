"""Pretrained weights from a file: safetensors, or .pth read without unpickling code."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor, nn

from medtune.config.errors import InputError
from medtune.config.project import PACKAGE, PROJECT
from medtune.models.checkpoint_file import SUFFIXES, read_state_dicts
from medtune.models.checkpoint_keys import Fit, find_fits, prefix_rank, same_tensors
from medtune.runtime import console
from medtune.runtime.artifact import digest
from medtune.serving.checksum import load_with_checksum

StateDicts = list[tuple[str, dict[str, Tensor]]]

SHIPPED = PACKAGE / "models" / "bundled"
RESTORE_COMMAND = "git checkout models/bundled"


def read_shipped_metadata(backbone: str) -> dict[str, Any]:
    """What is known of shipped weights: mean, std, licence, source, sha256.

    Raises:
        InputError: it is not what was shipped.
    """
    path = SHIPPED / f"{backbone}.json"
    try:
        return load_with_checksum(path.read_bytes().decode())
    except (OSError, ValueError) as error:
        raise InputError(f"model.weights: bundled: {path.name} is damaged ({error}): {RESTORE_COMMAND}") from None


def read_weights(weights: str, backbone: str, check_only: bool = False) -> tuple[StateDicts, str]:
    """Read the state dicts that `model.weights` names (bundled or a file).

    Args:
        weights: `bundled`, or a path, absolute or from the project's folder.
        backbone: timm name.
        check_only: check only that the file exists and is of a known kind; there are no state dicts then.

    Returns:
        Container and state dict of each, the preferred one first; and the file.

    Raises:
        InputError: no such file, not weights, a pickle that carries code, or shipped ones that have changed.
    """
    if weights == "bundled":
        path = SHIPPED / f"{backbone}.safetensors"
        if not path.is_file():
            shipped = sorted(p.stem for p in SHIPPED.glob("*.safetensors"))
            raise InputError(f"model.weights: none are bundled for {backbone!r}; bundled: {', '.join(shipped)}")
    else:
        path = PROJECT / weights
        if not path.is_file():
            raise InputError(f"model.weights: {weights!r} is neither hub, bundled, none nor a file")
        if not path.name.endswith(SUFFIXES):
            raise InputError(f"model.weights: {weights!r} is no weights file; expected {', '.join(SUFFIXES)}")
    if check_only:
        return [], str(path)
    return ([("", _read_shipped(path))] if weights == "bundled" else read_state_dicts(path)), str(path)


def _read_shipped(path: Path) -> dict[str, Tensor]:
    content = path.read_bytes()  # what is hashed is what is loaded
    if hashlib.sha256(content).hexdigest() != read_shipped_metadata(path.stem)["sha256"]:
        raise InputError(f"model.weights: bundled: {path.name} is not what its card names by sha256: {RESTORE_COMMAND}")
    return load(content)


def load_into(backbone: nn.Module, states: StateDicts, path: str) -> None:
    """Load the preferred state dict that fits the backbone completely.

    A wrapper's prefix is removed and timm's own conversion of keys and position embeddings is applied. A classifier
    and parts that only pretraining uses are left out. What was done is printed.

    Args:
        backbone: a timm model; may lie on the meta device.
        states: from `read_weights`.
        path: the file, for messages.

    Raises:
        InputError: nothing fits (names the first keys that are missing, unexpected or of another shape), two
            different networks fit equally well, or a value is not finite.
    """
    name = Path(path).name
    container, fit = _choose(backbone, states, name)
    if broken := next((key for key in sorted(fit.state) if not fit.state[key].isfinite().all()), None):
        raise InputError(f"model.weights: {name}: {broken} is not finite (NaN or infinite)")
    own = backbone.state_dict()
    backbone.load_state_dict(own | {key: value.to(own[key].dtype) for key, value in fit.state.items()}, strict=True)
    if note := _note(container, fit):
        _print_once(f"model.weights: {name}: {note}")


def _choose(backbone: nn.Module, states: StateDicts, name: str) -> tuple[str, Fit]:
    closest: Fit | None = None
    for container, state in states:
        fits = find_fits(state, backbone)
        whole = [fit for fit in fits if not fit.faults]
        if whole:
            first = whole[0]
            for other in whole[1:]:
                if prefix_rank(other.prefix) == prefix_rank(first.prefix) and not same_tensors(
                    first.state, other.state
                ):
                    raise InputError(
                        f"model.weights: {name} holds two networks that fit, under {first.prefix or 'no prefix'} and "
                        f"{other.prefix or 'no prefix'}. Save the one to use in a file of its own"
                    )
            return container, first
        closest = min([*([closest] if closest else []), *fits], key=lambda fit: fit.faults)
    assert closest is not None
    removed = f" with the prefix {closest.prefix} removed" if closest.prefix else ""
    raise InputError(
        f"model.weights: {name}{removed} does not fit {type(backbone).__name__} ({closest.description}). Name the "
        "backbone of this file in model.backbone, or another file"
    )


def _note(container: str, fit: Fit) -> str:
    """What was done to read the file; empty if it is the plain state dict of the backbone."""
    parts = [f"read from {container}"] if container else []
    if fit.prefix:
        parts.append(f"read with the prefix {fit.prefix} removed")
    if fit.left_out:
        groups: dict[str, int] = {}
        for key in fit.left_out:
            group = key if "." not in key else key.removeprefix(fit.prefix).partition(".")[0] + "."
            groups[group] = groups.get(group, 0) + 1
        names = [f"{group} ({count} keys)" if count > 1 else group for group, count in groups.items()]
        parts.append(f"left out {', '.join(names[:8])}" + (f" and {len(names) - 8} more" if len(names) > 8 else ""))
    return "; ".join(parts)


@cache
def _print_once(message: str) -> None:
    console.info(message)


def state_sha256(module: nn.Module) -> str:
    """Digest of every parameter and buffer, bit for bit."""
    parts = {
        name: hashlib.sha256(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data).hexdigest()
        for name, value in module.state_dict().items()
        if value.numel()
    }
    return digest(parts)
