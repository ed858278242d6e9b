"""State dicts in weights files. Training programs store a state dict under various keys, called containers here."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from medtune.config.errors import InputError
from medtune.serving.one_line import first_line

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".pth.tar")
# Keys of containers in order of preference: averaged weights, a teacher, then the trained weights.
CONTAINERS = (
    "state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "teacher", "target_encoder",
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "backbone", "encoder", "module",
    "student",
)  # fmt: skip
# Words in the keys of other contents, such as the state of an optimizer.
IGNORED = ("optim", "sched", "scaler", "loss", "criterion", "callbacks", "loops", "hparams", "hyper_parameters")
# Largest nesting depth of dictionaries that is searched.
MAX_DEPTH = 4
# Name of a type that torch does not load, in its error message.
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


def read_state_dicts(path: Path, setting: str | None = None) -> list[tuple[str, dict[str, Tensor]]]:
    """Read every state dict of a weights file, without running code from it.

    Only tensors, plain values and `argparse.Namespace` are accepted. timm's train.py stores an `argparse.Namespace`.

    Args:
        path: a safetensors file, or a file written by torch.save.
        setting: value of `model.weights`, for messages; the path if None.

    Returns:
        Pairs of container and state dict, the preferred container first. The container is empty if the file itself is
        the state dict.

    Raises:
        InputError: the file is damaged, contains other objects, or contains no state dict.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as stream:
                return [("", {name: stream.get_tensor(name) for name in stream.keys()})]  # noqa: SIM118
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles raise exceptions of any type
        raise InputError(
            f"model.weights={setting or path}: it cannot be read as plain tensors, {_reason(error)}"
        ) from None
    states = sorted(_state_dicts(content, "", 0), key=lambda item: _rank(item[0]))
    if not states:
        raise InputError(
            f"model.weights={setting or path}: it contains no state dict of tensors. Save model.state_dict() in it"
        )
    return states


def _state_dicts(content: Any, name: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield container and state dict of every state dict in `content`, whose own container is `name`."""
    if not isinstance(content, dict) or not content or depth > MAX_DEPTH:
        return
    if all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
        yield name, content
        return
    for key, value in content.items():
        if isinstance(key, str) and not any(word in key.lower() for word in IGNORED):
            yield from _state_dicts(value, f"{name}.{key}" if name else key, depth + 1)


def _rank(name: str) -> list[int]:
    """Return the sort key of a container, lower for a preferred container."""
    parts = name.split(".")
    return [CONTAINERS.index(part) if part in CONTAINERS else len(CONTAINERS) for part in parts]


def _reason(error: Exception) -> str:
    """Return the cause and the fix. Torch's advice to trust the file is left out."""
    if match := _GLOBAL.search(str(error)):
        return (
            f"because it contains an object of type {match[1]}. In the program that wrote it, save only the state dict "
            "with safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
        )
    cause = first_line(error).partition(" In PyTorch 2.6")[0].partition(". Please")[0]
    return f"because it is damaged or has another format ({cause}). Use another file"
