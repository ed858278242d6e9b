"""What stays on this machine: local paths, its name, command lines, code; W&B is told of none of them."""

import os
from pathlib import Path, PureWindowsPath
from typing import Any

PLACEHOLDER = "<local path>"
# W&B would send host, command line, working folder, user and git remote; this stands for them.
NAME = "medtune"
SETTINGS: dict[str, Any] = {
    "host": NAME,
    "program": NAME,
    "x_disable_meta": True,
    "save_code": False,
    "disable_git": True,
}
# The reports of W&B's own faults would carry paths too.
ENVIRONMENT = {"WANDB_ERROR_REPORTING": "false"}


def redact_paths(value: Any) -> Any:
    """`value` with every string that leads out of the project, in whatever depth, replaced by `PLACEHOLDER`."""
    if isinstance(value, dict):
        return {name: redact_paths(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [redact_paths(one) for one in value]
    return PLACEHOLDER if isinstance(value, str) and _is_local_path(value) else value


def set_environment(cache: Path) -> None:
    """Keeps W&B's own files in the project's cache, and its fault reports from being sent."""
    (cache / "wandb").mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("WANDB_DATA_DIR", str(cache / "wandb" / "data"))
    os.environ.setdefault("WANDB_CACHE_DIR", str(cache / "wandb" / "cache"))
    for name, setting in ENVIRONMENT.items():
        os.environ.setdefault(name, setting)


def _is_local_path(text: str) -> bool:
    path = Path(text)
    return path.is_absolute() or text.startswith("~") or ".." in path.parts or bool(PureWindowsPath(text).drive)
