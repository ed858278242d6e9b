"""Checkpoints without pickle: one safetensors file with its own digest, replaced atomically."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from medtune.config.errors import RunError
from medtune.runtime.artifact import Artifact, atomic_write, canonical_json

if TYPE_CHECKING:
    from medtune.models.classifier import Classifier

CHECKPOINT_FILE = "checkpoint.safetensors"


def save(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Writes tensors and JSON `meta` to `path`: the old file or the new one is there, never a part.

    Raises:
        RunError: it could not be written.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    text = canonical_json(meta)
    with atomic_write(path) as temporary:
        # One entry: several would be written in random order, and equal weights should be equal bytes.
        header = {"medtune": canonical_json({"meta": text, "digest": _digest(tensors, text)})}
        try:
            save_file(tensors, temporary, header)
        except SafetensorError as error:  # a full disk, in its own words
            raise RunError(f"{path} cannot be written: {error}; make room and run again to go on") from error


def read(path: Path, key: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and meta of `path`; None where it is absent, damaged, or its meta carries another key."""
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
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        found.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as flat tensors `optim.<parameter>.<name>`; hyper-parameters come from params."""
    return {
        f"optim.{index}.{name}": torch.as_tensor(value)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts back what `optimizer_tensors` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optim."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    # A file has no strides; fused optimizers go through parameter and moments side by side in memory.
    for parameter, own in optimizer.state.items():
        for name, value in own.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                own[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def add_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` under `prefix.`."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def strip_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries of `tensors` under `prefix.`, without it."""
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(prefix + ".")}


def load_trained(artifact: Artifact) -> "Classifier":
    """The classifier that a training stage kept: eval mode, on the CPU, ready to evaluate or export.

    Raises:
        RunError: the file is damaged, or the pretrained weights under a stored head have changed.
    """
    from medtune.config.load import validate
    from medtune.models.adapt import adapt
    from medtune.models.weights import state_sha256
    from medtune.tasks import base

    result = artifact.result()
    params = validate(result["params"])
    stored = read(artifact.folder / "model.safetensors")
    if stored is None:
        raise RunError(f"{artifact.path}: model.safetensors is damaged")
    tensors, meta = stored
    model = base.training(params.task.kind).build(params, result["n_outputs"], load_weights=meta["holds"] == "head")
    if meta["holds"] == "head":
        if state_sha256(model.backbone) != result["backbone_sha256"]:
            raise RunError(f"{artifact.path}: the pretrained weights are not those that its head was trained on")
        model.head.load_state_dict(tensors, strict=True)
    else:
        if meta["holds"] == "adapted":
            model = adapt(model, params)
        model.load_state_dict(tensors, strict=True)
    return model.eval()
