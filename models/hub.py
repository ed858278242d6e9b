"""Weights in the model hub's cache on this machine: which files, and whether they are still what was fetched."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medtune.config.errors import InputError
from medtune.runtime.artifact import file_sha256

_SHA256 = re.compile(r"[0-9a-f]{64}")


def cached_files(cfg: Mapping[str, Any]) -> Iterator[Path]:
    """The files in the cache that timm may read for this pretrained_cfg."""
    from huggingface_hub import try_to_load_from_cache

    name, _, revision = (cfg.get("hf_hub_id") or "").partition("@")
    if not name:
        return
    file = cfg.get("hf_hub_filename") or "pytorch_model.bin"
    for candidate in dict.fromkeys((file, "model.safetensors", f"{file.rpartition('.')[0]}.safetensors")):
        found = try_to_load_from_cache(name, candidate, revision=revision or None)
        if isinstance(found, str):
            yield Path(found)


def check_cached(cfg: Mapping[str, Any]) -> bool:
    """Whether anything is there. The cache calls a large file by its sha256, and it must be that file.

    Raises:
        InputError: it is not: damaged since it was fetched.
    """
    there = False
    for path in cached_files(cfg):
        there = True
        blob = path.resolve()
        if _SHA256.fullmatch(blob.name) and file_sha256(blob) != blob.name:
            raise InputError(
                f"model.weights: hub: {path.name} of {cfg['hf_hub_id']} is damaged in the hub's cache: delete {blob} "
                "and run again, which fetches it anew"
            )
    return there
