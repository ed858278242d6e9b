"""Checks of the pretrained weights and the model hub. This module does not import torch."""

import os
from pathlib import Path

from medtune.config.project import PACKAGE, PROJECT
from medtune.config.volume_model import NO_BACKBONE
from medtune.doctor.check_result import CheckResult, Context, failure, format_size, ok, warning
from medtune.doctor.subprocess_check import CheckError
from medtune.doctor.volumes import with_patch
from medtune.runtime.artifact import file_sha256
from medtune.serving.one_line import first_line

SHIPPED = PACKAGE / "models" / "bundled"
COMPATIBILITY_TIMEOUT_S = 240.0
HUB_TIMEOUT_S = 5.0
RESTORE_COMMAND = "git checkout models/bundled"
PUBLIC_HUB = "https://huggingface.co"
HUB_HINT = "set model.weights to a weights file or to none, or use another backbone"
FILE_HINT = "use the weights file of this backbone (.safetensors), or set model.weights to hub or bundled"
OFFLINE_HINT = "download the weights once without --offline and HF_HUB_OFFLINE, or use a local file as model.weights"
HUB_FAULT_HINT = (
    "check the connection or the proxy (HTTPS_PROXY), set a mirror (HF_ENDPOINT), or use a local file as model.weights"
)


def check_weights(context: Context) -> CheckResult:
    """Check that the weights are unchanged and safe to load, and that they match the backbone."""
    model = context.params.model
    try:
        answer = context.questions.ask("medtune.models.compatibility", with_patch(context), COMPATIBILITY_TIMEOUT_S)
    except CheckError as error:
        return failure(first_line(error), "check the weights file: it may need more memory than this machine has")
    context.facts |= {name: value for name, value in answer.items() if not name.endswith("_fault")}
    if fault := answer["shape_fault"]:
        return failure(fault, "fix params.yaml with `medtune params set KEY=VALUE`")
    if fault := answer["weights_fault"]:
        return failure(fault, {"bundled": RESTORE_COMMAND, "hub": HUB_HINT}.get(model.weights, FILE_HINT))
    message = f"{answer['parameters']:,} parameters in {model.backbone}"
    if model.backbone == NO_BACKBONE:
        return ok(f"no backbone; {answer['head']:,} parameters in the decoder")
    if model.weights in ("hub", "none"):
        origin = "random (model.weights=none)" if model.weights == "none" else "from the hub, see below"
        return ok(f"{origin}; {message}")
    if model.weights == "bundled":
        return _check_shipped(model.backbone, message)
    file = PROJECT / model.weights
    loading = "" if file.suffix == ".safetensors" else ", loaded without running code"
    return ok(f"{file.name}, {format_size(file.stat().st_size)}{loading}, fits; {message}")


def check_hub(context: Context) -> CheckResult:
    """Check that the model hub responds. The result is a failure only if weights are needed and not cached."""
    endpoint = os.environ.get("HF_ENDPOINT", PUBLIC_HUB).rstrip("/")
    needed = context.params.model.weights == "hub"
    name, cached = context.facts.get("hub_id"), bool(context.facts.get("cached"))
    have = f"; the weights of {context.params.model.backbone} are cached" if cached else ""
    forbidden = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    if context.offline or forbidden:
        message = f"{endpoint} not contacted ({'--offline' if context.offline else 'HF_HUB_OFFLINE is set'}){have}"
        if needed and not cached:
            return failure(f"{message}; the weights are needed and not cached", OFFLINE_HINT)
        return ok(message)
    fault = _hub_error(context, f"{endpoint}/{name}/resolve/main/config.json" if needed and name else endpoint)
    if fault is None:
        return ok(f"{endpoint} responds{have}")
    message = f"the request to {endpoint} failed ({fault})"
    if needed and not cached:
        return failure(message, HUB_FAULT_HINT)
    why = have.removeprefix("; ") if needed else "not needed: model.weights=" + context.params.model.weights
    return warning(f"{message}; {why}", "set HF_HUB_OFFLINE=1 to stop requests to the hub, or HF_ENDPOINT to a mirror")


def _hub_error(context: Context, url: str) -> str | None:
    """Return the error of a request to the hub, or None after success. Store its date as the fact `date`."""
    import httpx

    try:
        response = httpx.head(url, timeout=HUB_TIMEOUT_S, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return first_line(error)
    context.facts["date"] = response.headers.get("date")
    return f"status {response.status_code}" if response.status_code >= 400 and response.status_code != 405 else None


def _check_shipped(backbone: str, message: str) -> CheckResult:
    file: Path = SHIPPED / f"{backbone}.safetensors"  # its checksum was verified on loading
    return ok(f"bundled, SHA-256 {file_sha256(file)[:12]}... verified; {message}")
