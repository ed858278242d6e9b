"""Whether weights that must come from the model hub can be fetched: asked before anything else is done."""

import os
import threading
from collections.abc import Mapping
from typing import Any

from medtune.config.errors import InputError
from medtune.models.hub import cached_files
from medtune.serving.one_line import first_line

PUBLIC_HUB = "https://huggingface.co"
# Of each network operation, and of all of them together, seconds.
OPERATION_TIMEOUT_S = 3.0
TIMEOUT_S = 4.0


def check_access(backbone: str, cfg: Mapping[str, Any], hint: str = "") -> None:
    """Refuse weights from the hub that are neither in its cache nor to be had.

    Args:
        backbone: timm name.
        cfg: its pretrained_cfg.
        hint: a further `--set` for the file, if it needs one.

    Raises:
        InputError: names the file, where to get it, and how to use it.
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
    place = f"weights/{repository.rpartition('/')[2]}.safetensors"
    raise InputError(
        f"model.weights=hub: {endpoint} {fault}, and {names[0]} of {repository} is not in its cache. Fetch "
        f"{PUBLIC_HUB}/{repository}/resolve/{revision or 'main'}/{names[0]} where there is a connection, save it as "
        f"{place} in the project, and run with --set model.weights={place}{hint and ' ' + hint}; or name a mirror in "
        "HF_ENDPOINT or a proxy in HTTPS_PROXY"
    )


def _fault(urls: list[str]) -> str | None:
    """Why none of the files can be fetched; None if one can."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "is not asked (HF_HUB_OFFLINE is set)"
    answers: list[str | None] = []
    # A thread, since neither the resolution of names nor a server that sends a byte at a time has a time limit.
    thread = threading.Thread(target=lambda: answers.append(_ask(urls)), daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    return answers[0] if answers else f"does not answer within {TIMEOUT_S:.0f} s"


def _ask(urls: list[str]) -> str | None:
    import httpx
    from huggingface_hub.utils import build_hf_headers

    fault = None
    for url in urls:
        try:
            status = httpx.head(url, headers=build_hf_headers(), timeout=OPERATION_TIMEOUT_S).status_code
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return f"does not answer ({first_line(error)})"
        if status < 400 or status == 405:
            return None
        fault = f"answers with status {status}" + (" (set HF_TOKEN)" if status in (401, 403) else "")
    return fault
