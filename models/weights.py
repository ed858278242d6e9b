"""Pretrained weights from a file: safetensors, or .pth read without unpickling code."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load
from torch import Tensor, nn

from medtune.config.errors import InputError
from medtune.config.project import PACKAGE, PROJECT
from medtune.runtime.artifact import digest
from medtune.serving.checksum import load_with_checksum
from medtune.serving.one_line import first_line

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


def read_weights(weights: str, backbone: str, check_only: bool = False) -> tuple[dict[str, Tensor], str]:
    """State dict and the file it came from, for `model.weights` = bundled or a file.

    Args:
        weights: `bundled`, or a path, absolute or from the project's folder.
        backbone: timm name.
        check_only: only that the file is there and of a known kind; the state dict is empty.

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
        if path.suffix not in (".safetensors", ".pth", ".pt", ".bin"):
            raise InputError(f"model.weights: {weights!r} is no weights file; expected .safetensors or .pth")
    if check_only:
        return {}, str(path)
    return (_read_shipped(path) if weights == "bundled" else _read(path)), str(path)


def _read_shipped(path: Path) -> dict[str, Tensor]:
    content = path.read_bytes()  # what is hashed is what is loaded
    if hashlib.sha256(content).hexdigest() != read_shipped_metadata(path.stem)["sha256"]:
        raise InputError(f"model.weights: bundled: {path.name} is not what its card names by sha256: {RESTORE_COMMAND}")
    return load(content)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as stream:
                return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its first wrong opcode raises
        raise InputError(f"model.weights: {path.name} cannot be read as plain tensors: {first_line(error)}") from None
    for nested in ("state_dict_ema", "model_ema", "state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(nested), dict):
            state = state[nested]
            break
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"model.weights: {path.name} holds no state dict of tensors")
    return {name.removeprefix("module."): value for name, value in state.items()}


def load_into(backbone: nn.Module, state: dict[str, Tensor], path: str) -> None:
    """Loads `state` strictly, after timm's own key and position-embedding conversion; its classifier is left out.

    Raises:
        InputError: names the first keys that are missing, unexpected or of another shape; or one that is not finite.
    """
    convert = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        state = convert(state, backbone)
    cfg = getattr(backbone, "pretrained_cfg", None) or {}
    classifiers = cfg.get("classifier") or ()
    classifiers = (classifiers,) if isinstance(classifiers, str) else classifiers
    own = backbone.state_dict()
    state = {k: v for k, v in state.items() if k in own or not any(k.startswith(f"{c}.") for c in classifiers)}
    faults = [f"{key} missing" for key in own.keys() - state.keys() if not key.endswith("num_batches_tracked")]
    faults += [f"{key} unexpected" for key in state.keys() - own.keys()]
    faults += [
        f"{key} is {tuple(state[key].shape)}, not {tuple(own[key].shape)}"
        for key in own.keys() & state.keys()
        if own[key].shape != state[key].shape
    ]
    if faults:
        shown = ", ".join(sorted(faults)[:4])
        raise InputError(f"model.weights: {Path(path).name} does not fit {type(backbone).__name__} "
                         f"({len(faults)} keys differ: {shown})")  # fmt: skip
    if broken := next((key for key in sorted(state) if not state[key].isfinite().all()), None):
        raise InputError(f"model.weights: {Path(path).name}: {broken} is not finite (NaN or infinite)")
    backbone.load_state_dict(own | {key: value.to(own[key].dtype) for key, value in state.items()}, strict=True)


def state_sha256(module: nn.Module) -> str:
    """Digest of every parameter and buffer, bit for bit."""
    parts = {
        name: hashlib.sha256(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data).hexdigest()
        for name, value in module.state_dict().items()
        if value.numel()
    }
    return digest(parts)
