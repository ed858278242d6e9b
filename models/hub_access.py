"""Check before training that the model hub is reachable, if weights must be downloaded."""

import os
import threading
from collections.abc import Mapping
from typing import Any

from medtune.config.errors import InputError
from medtune.models.hub import cached_files
from medtune.serving.one_line import first_line

PUBLIC_HUB = "https://huggingface.co"
# Time limits in seconds, for each network operation and for the complete check.
OPERATION_TIMEOUT_S = 3.0
TIMEOUT_S = 4.0


def check_access(backbone: str, cfg: Mapping[str, Any], hint: str = "") -> None:
    """Check that the weights are in the hub's cache or can be downloaded.

    Args:
        backbone: timm name.
        cfg: pretrained_cfg of the backbone, timm's description of the weights.
        hint: `--set` option that a downloaded file also needs, for the message; empty if none.

    Raises:
        InputError: the weights are not in the cache and cannot be downloaded. The message contains their address and
            the setting for a downloaded file.
    """
    repository, _, revision = (cfg.get("hf_hub_id") or "").partition("@")
    if not repository or any(True for _ in cached_files(cfg)):
        return
    endpoint = os.environ.get("HF_ENDPOINT", PUBLIC_HUB).rstrip("/")
    names = list(dict.fromkeys(("model.safetensors", cfg.get("hf_hub_filename") or "pytorch_model.bin")))
    urls = [f"{endpoint}/{repository}/resolve/{revision or 'main'}/{name}" for name in names]
    fault = _fault(urls)
    if fault is None:
        return
    path = f"weights/{repository.rpartition('/')[2]}.safetensors"
    raise InputError(
        f"model.weights=hub: {endpoint} {fault}, and {names[0]} of {repository} is not in the hub's cache. Download "
        f"{PUBLIC_HUB}/{repository}/resolve/{revision or 'main'}/{names[0]} on a machine with a connection, save it as "
        f"{path} in the project, and run with --set model.weights={path}{hint and ' ' + hint}. Alternatively, set "
        "HF_ENDPOINT to a mirror or HTTPS_PROXY to a proxy"
    )


def _fault(urls: list[str]) -> str | None:
    """Return the reason why no file of `urls` can be downloaded; None if one can be downloaded."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "is not used (HF_HUB_OFFLINE is set)"
    answers: list[str | None] = []
    # A thread enforces the limit, because name resolution and slow servers are not subject to httpx timeouts.
    thread = threading.Thread(target=lambda: answers.append(_ask(urls)), daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    return answers[0] if answers else f"does not answer within {TIMEOUT_S:.0f} s"


def _ask(urls: list[str]) -> str | None:
    """Ask the hub for each file. Return the reason why none is available, or None if one is available."""
    import httpx
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    fault = None
    for url in urls:
        try:
            status = httpx.head(url, headers=build_hf_headers(), timeout=OPERATION_TIMEOUT_S).status_code
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return f"does not answer ({first_line(error)})"
        if status < 400 or status == 405:  # 405: the server does not answer HEAD requests
            return None
        fault = f"answers with status {status}" + (" (set HF_TOKEN)" if status in (401, 403) else "")
    return fault
