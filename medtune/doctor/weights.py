"""The pretrained weights: there, safe to open, fitting; and the hub they may come from. Imports no torch."""

import os
from pathlib import Path

from medtune.config.project import PACKAGE, PROJECT
from medtune.doctor.check_result import CheckResult, Context, failure, format_size, ok, warning
from medtune.doctor.subprocess_check import CheckError
from medtune.runtime.artifact import file_sha256
from medtune.serving.one_line import first_line

SHIPPED = PACKAGE / "models" / "bundled"
COMPATIBILITY_TIMEOUT_S = 240.0
HUB_TIMEOUT_S = 5.0
RESTORE_COMMAND = "git checkout models/bundled"
PUBLIC_HUB = "https://huggingface.co"
FILE_HINT = "put the file of this very backbone there (.safetensors), or set model.weights to hub or bundled"


def check_weights(context: Context) -> CheckResult:
    """What model.weights names: unchanged, opened without running code from it, and of the backbone's shapes."""
    model = context.params.model
    try:
        found = context.questions.ask("medtune.models.compatibility", context.params, COMPATIBILITY_TIMEOUT_S)
    except CheckError as error:
        return failure(first_line(error), "look at the weight file: it may be larger than this machine's memory")
    context.facts |= {name: value for name, value in found.items() if not name.endswith("_fault")}
    if fault := found["shape_fault"]:
        return failure(fault, "fix params.yaml: medtune params set KEY=VALUE")
    if fault := found["weights_fault"]:
        return failure(fault, RESTORE_COMMAND if model.weights == "bundled" else FILE_HINT)
    message = f"{found['parameters']:,} parameters in {model.backbone}"
    if model.weights in ("hub", "none"):
        none = "random, by model.weights: none" if model.weights == "none" else "from the hub, see below"
        return ok(f"{none}; {message}")
    if model.weights == "bundled":
        return _check_shipped(model.backbone, message)
    file = PROJECT / model.weights
    unpickled = "" if file.suffix == ".safetensors" else ", read without running code"
    return ok(f"{file.name}, {format_size(file.stat().st_size)}{unpickled}, fits; {message}")


def check_hub(context: Context) -> CheckResult:
    """Whether the model hub answers; wrong only where these params need it and nothing is in its cache."""
    endpoint = os.environ.get("HF_ENDPOINT", PUBLIC_HUB).rstrip("/")
    needed = context.params.model.weights == "hub"
    name, cached = context.facts.get("hub_id"), bool(context.facts.get("cached"))
    have = f"; the weights of {context.params.model.backbone} were fetched before" if cached else ""
    forbidden = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    if context.offline or forbidden:
        message = f"{endpoint} not asked ({'--offline' if context.offline else 'HF_HUB_OFFLINE is set'}){have}"
        if needed and not cached:
            return failure(f"{message}; the weights are needed and not in its cache", _offline_hint())
        return ok(message)
    fault = _hub_error(context, f"{endpoint}/{name}/resolve/main/config.json" if needed and name else endpoint)
    if fault is None:
        return ok(f"{endpoint} answers{have}")
    message = f"{endpoint} does not answer ({fault})"
    if needed and not cached:
        return failure(message, _offline_hint())
    why = have.removeprefix("; ") if needed else "not needed: model.weights is " + context.params.model.weights
    return warning(f"{message}; {why}", "HF_HUB_OFFLINE=1 saves its attempts; HF_ENDPOINT names a mirror")


def _offline_hint() -> str:
    return "a connection or proxy (HTTPS_PROXY), a mirror (HF_ENDPOINT), or a local file in model.weights"


def _hub_error(context: Context, url: str) -> str | None:
    import httpx

    try:
        answer = httpx.head(url, timeout=HUB_TIMEOUT_S, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return first_line(error)
    context.facts["date"] = answer.headers.get("date")
    return f"status {answer.status_code}" if answer.status_code >= 400 and answer.status_code != 405 else None


def _check_shipped(backbone: str, message: str) -> CheckResult:
    file: Path = SHIPPED / f"{backbone}.safetensors"  # held against its card when it was read
    return ok(f"bundled, sha256 {file_sha256(file)[:12]}... as its card says; {message}")
