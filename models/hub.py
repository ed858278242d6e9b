"""Weights in the local cache of the model hub, verified by checksum."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medtune.config.errors import InputError
from medtune.runtime.artifact import file_sha256

_SHA256 = re.compile(r"[0-9a-f]{64}")


def cached_files(cfg: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files in the cache from which timm may read the weights that a pretrained_cfg describes."""
    from huggingface_hub import try_to_load_from_cache

    name, _, revision = (cfg.get("hf_hub_id") or "").partition("@")
    if not name:
        return
    file = cfg.get("hf_hub_filename") or "pytorch_model.bin"
    for candidate in dict.fromkeys((file, "model.safetensors", f"{file.rpartition('.')[0]}.safetensors")):
        path = try_to_load_from_cache(name, candidate, revision=revision or None)
        if isinstance(path, str):
            yield Path(path)


def check_cached(cfg: Mapping[str, Any]) -> bool:
    """Verify the checksum of cached weights. The cache names large files by their SHA-256 checksum.

    Args:
        cfg: pretrained_cfg, timm's description of the weights.

    Returns:
        True if the cache contains weights.

    Raises:
        InputError: a file does not have the checksum in its name.
    """
    is_cached = False
    for path in cached_files(cfg):
        is_cached = True
        blob = path.resolve()
        if _SHA256.fullmatch(blob.name) and file_sha256(blob) != blob.name:
            raise InputError(
                f"model.weights=hub: {path.name} of {cfg['hf_hub_id']} is damaged in the hub's cache. Delete {blob} "
                "and run again to download it"
            )
    return is_cached
