"""Pretrained weights from shipped files (models/bundled) and from files of the user. Code in a file is never run."""

import hashlib
from collections import Counter
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
from medtune.serving.one_line import first_line

# Pairs of container, the key under which a file stores a state dict (see `checkpoint_file`), and state dict.
StateDicts = list[tuple[str, dict[str, Tensor]]]

SHIPPED = PACKAGE / "models" / "bundled"
RESTORE_COMMAND = "git checkout models/bundled"


def read_shipped_metadata(backbone: str) -> dict[str, Any]:
    """Read the metadata of shipped weights.

    Args:
        backbone: timm name.

    Returns:
        Mean and std of the training images, license, source and sha256.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = SHIPPED / f"{backbone}.json"
    try:
        return load_with_checksum(path.read_bytes().decode())
    except (OSError, ValueError) as error:
        raise InputError(
            f"model.weights=bundled: {path.name} is damaged ({first_line(error)}). Run `{RESTORE_COMMAND}`"
        ) from None


def read_weights(weights: str, backbone: str, check_only: bool = False) -> tuple[StateDicts, str]:
    """Read the state dicts that `model.weights` names.

    Args:
        weights: `bundled`, or a path, absolute or relative to the project folder.
        backbone: timm name.
        check_only: check only that the file exists and has a known suffix, and return no state dicts.

    Returns:
        The state dicts, the preferred one first; and `weights`.

    Raises:
        InputError: the file does not exist, is not a weights file, contains a pickle with code, or is a shipped file
            that has changed.
    """
    if weights == "bundled":
        path = SHIPPED / f"{backbone}.safetensors"
        if not path.is_file():
            shipped = sorted(p.stem for p in SHIPPED.glob("*.safetensors"))
            raise InputError(
                f"model.weights=bundled: no weights are shipped for {backbone}. Use a file, or a backbone with shipped "
                f"weights: {', '.join(shipped)}"
            )
    else:
        path = PROJECT / weights
        if not path.is_file():
            raise InputError(f"model.weights={weights}: no such file. Use hub, bundled, none or the path of a file")
        if not path.name.endswith(SUFFIXES):
            raise InputError(f"model.weights={weights}: not a weights file. Use one with suffix {', '.join(SUFFIXES)}")
    if check_only:
        return [], weights
    return ([("", _read_shipped(path))] if weights == "bundled" else read_state_dicts(path, weights)), weights


def _read_shipped(path: Path) -> dict[str, Tensor]:
    """Read a shipped weights file and verify its checksum."""
    content = path.read_bytes()  # read once, so that exactly the verified bytes are loaded
    if hashlib.sha256(content).hexdigest() != read_shipped_metadata(path.stem)["sha256"]:
        raise InputError(
            f"model.weights=bundled: {path.name} does not have the SHA-256 checksum in {path.stem}.json. "
            f"Run `{RESTORE_COMMAND}`"
        )
    return load(content)


def load_into(backbone: nn.Module, states: StateDicts, setting: str) -> None:
    """Load the preferred state dict that fits the backbone completely.

    Prefixes of wrappers are removed from the keys. timm converts keys and position embeddings. Classifiers and parts
    that only pretraining uses are left out. A message lists the removed prefixes and the parts that are left out.

    Args:
        backbone: a timm model; may be on the meta device.
        states: from `read_weights`.
        setting: value of `model.weights`, for messages.

    Raises:
        InputError: no state dict fits, two different networks fit equally well, or a value is not finite.
    """
    container, fit = _choose(backbone, states, setting)
    if broken := next((key for key in sorted(fit.state) if not fit.state[key].isfinite().all()), None):
        raise InputError(f"model.weights={setting}: {broken} contains NaN or infinite values. Use another file")
    state = backbone.state_dict()
    state |= {key: value.to(state[key].dtype) for key, value in fit.state.items()}
    backbone.load_state_dict(state, strict=True)
    if note := _note(container, fit):
        print_once(f"model.weights={setting}: {note}")


def _choose(backbone: nn.Module, states: StateDicts, setting: str) -> tuple[str, Fit]:
    """Return container and `Fit` of the first state dict that fits completely."""
    closest: Fit | None = None
    for container, state in states:
        fits = find_fits(state, backbone)
        complete = [fit for fit in fits if not fit.mismatches]
        if complete:
            first = complete[0]
            for other in complete[1:]:
                if prefix_rank(other.prefix) == prefix_rank(first.prefix) and not same_tensors(
                    first.state, other.state
                ):
                    raise InputError(
                        f"model.weights={setting}: it contains two networks that fit, under "
                        f"{first.prefix or 'no prefix'} and {other.prefix or 'no prefix'}. Save the network to use "
                        "in a separate file"
                    )
            return container, first
        closest = min([*([closest] if closest else []), *fits], key=lambda fit: fit.mismatches)
    assert closest is not None
    removed = f" with the prefix {closest.prefix} removed" if closest.prefix else ""
    raise InputError(
        f"model.weights={setting}: it does not fit {type(backbone).__name__}{removed}: {closest.description}. Set "
        "model.backbone to the backbone of this file, or use another file"
    )


def _note(container: str, fit: Fit) -> str:
    """Describe how the file was read. The text is empty if the file is the plain state dict of the backbone."""
    parts = [f"read from {container}"] if container else []
    if fit.prefix:
        parts.append(f"read with the prefix {fit.prefix} removed")
    if fit.left_out:
        modules = Counter(
            key if "." not in key else key.removeprefix(fit.prefix).partition(".")[0] + "." for key in fit.left_out
        )
        names = [f"{module} ({count} keys)" if count > 1 else module for module, count in modules.items()]
        parts.append(f"left out {', '.join(names[:8])}" + (f" and {len(names) - 8} more" if len(names) > 8 else ""))
    return "; ".join(parts)


@cache
def print_once(message: str) -> None:
    """Print a message unless this process has already printed it."""
    console.info(message)


def state_sha256(module: nn.Module) -> str:
    """Return a digest of all parameters and buffers."""
    checksums = {
        name: hashlib.sha256(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data).hexdigest()
        for name, value in module.state_dict().items()
        if value.numel()
    }
    return digest(checksums)
