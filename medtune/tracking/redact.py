"""Redaction of local paths, the host name, command lines and code, which are never sent to W&B."""

import os
from pathlib import Path, PureWindowsPath
from typing import Any

PLACEHOLDER = "<local path>"
# Sent in place of the host name and the program, which W&B would record.
NAME = "medtune"
SETTINGS: dict[str, Any] = {
    "host": NAME,
    "program": NAME,
    "x_disable_meta": True,
    "save_code": False,
    "disable_git": True,
}
# W&B's error reports would contain local paths too.
ENVIRONMENT = {"WANDB_ERROR_REPORTING": "false"}


def redact_paths(value: Any) -> Any:
    """Replace every local path by `PLACEHOLDER`, at any depth of `value`. Paths relative to the project remain."""
    if isinstance(value, dict):
        return {name: redact_paths(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_paths(item) for item in value]
    return PLACEHOLDER if isinstance(value, str) and _is_local_path(value) else value


def set_environment(cache: Path) -> None:
    """Store W&B's files in the project's cache and disable its error reports."""
    (cache / "wandb").mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("WANDB_DATA_DIR", str(cache / "wandb" / "data"))
    os.environ.setdefault("WANDB_CACHE_DIR", str(cache / "wandb" / "cache"))
    for name, setting in ENVIRONMENT.items():
        os.environ.setdefault(name, setting)


def _is_local_path(text: str) -> bool:
    path = Path(text)
    return path.is_absolute() or text.startswith("~") or ".." in path.parts or bool(PureWindowsPath(text).drive)
