"""Checkpoints as safetensors files with a checksum, replaced atomically."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from medtune.config.errors import RunError
from medtune.runtime.artifact import Artifact, atomic_write, canonical_json

CHECKPOINT_FILE = "checkpoint.safetensors"


def save(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write tensors and metadata atomically.

    Args:
        path: the file.
        tensors: tensors by name.
        meta: metadata, as JSON values by name.

    Raises:
        RunError: the file could not be written.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    text = canonical_json(meta)
    with atomic_write(path) as temporary:
        # A single entry. Several entries would be written in random order, so files of equal weights would differ.
        header = {"medtune": canonical_json({"meta": text, "digest": _digest(tensors, text)})}
        try:
            save_file(tensors, temporary, header)
        except SafetensorError as error:  # for example a full disk
            raise RunError(f"{path}: it cannot be written ({error}). Free disk space, then rerun to resume") from error


def read(path: Path, key: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read and verify a checkpoint.

    Args:
        path: the file.
        key: required cache key; None accepts any.

    Returns:
        Tensors and metadata; None if the file is missing or damaged, or has another key.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            header = json.loads((stream.metadata() or {})["medtune"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        meta = json.loads(header["meta"])
        if header["digest"] != _digest(tensors, header["meta"]) or (key is not None and meta.get("key") != key):
            return None
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None
    return tensors, meta


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    """Return the SHA-256 checksum of the tensors and the metadata `text`."""
    checksum = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        checksum.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        checksum.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return checksum.hexdigest()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the state of the optimizer as tensors `optim.<parameter>.<name>`, without hyperparameters."""
    return {
        f"optim.{index}.{name}": torch.as_tensor(value)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore the state that `optimizer_tensors` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optim."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    # Files do not contain strides, but fused optimizers require the same memory layout for parameters and moments.
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def add_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add `prefix.` to the names of tensors."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def strip_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with `prefix.`, without the prefix."""
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(prefix + ".")}


def load_trained(artifact: Artifact) -> Any:
    """Load the network that a training stage saved.

    Args:
        artifact: artifact of a training stage.

    Returns:
        The network on the CPU in eval mode: a `Network`, and in tasks of images a `Classifier`.

    Raises:
        RunError: the file is damaged, or the pretrained weights of the backbone have changed since the head was
            trained.
    """
    from medtune.config.load import validate
    from medtune.models.adapt import adapt
    from medtune.models.weights import state_sha256
    from medtune.tasks import base

    result = artifact.result()
    params = validate(result["params"])
    stored = read(artifact.folder / "model.safetensors")
    if stored is None:
        raise RunError(f"{artifact.path}: model.safetensors is damaged. Delete the folder and run again")
    tensors, meta = stored
    model = base.training(params.task.kind).build(params, result["layout"], load_weights=meta["holds"] == "head")
    if meta["holds"] == "head":
        if state_sha256(model.backbone) != result["backbone_sha256"]:
            raise RunError(
                f"{artifact.path}: the pretrained weights have changed since the head was trained. Restore them, or "
                "train again"
            )
        model.head.load_state_dict(tensors, strict=True)
    else:
        if meta["holds"] == "adapted":
            model = adapt(model, params)
        model.load_state_dict(tensors, strict=True)
    return model.eval()
