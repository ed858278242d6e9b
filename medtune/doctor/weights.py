"""The pretrained weights: there, safe to open, fitting; and the hub they may come from. Imports no torch."""

import os
from pathlib import Path

from medtune.config.project import PACKAGE, PROJECT
from medtune.doctor.result import Finding, Job, ok, size, warning, wrong
from medtune.doctor.subprocess_check import NoAnswer, ask
from medtune.runtime.artifact import file_sha256
from medtune.serving.one_line import first_line

BUNDLED = PACKAGE / "models" / "bundled"
FITS_S = 240.0
HUB_S = 5.0
RESTORE = "git checkout models/bundled"
PUBLIC = "https://huggingface.co"
FILE = "put the file of this very backbone there (.safetensors), or set model.weights to hub or bundled"


def weights(job: Job) -> Finding:
    """What model.weights names: unchanged, opened without running code from it, and of the backbone's shapes."""
    model = job.params.model
    try:
        found = ask("medtune.models.compatibility", job.params, FITS_S)
    except NoAnswer as error:
        return wrong(first_line(error), "look at the weight file: it may be larger than this machine's memory")
    job.facts |= {name: value for name, value in found.items() if not name.endswith("_fault")}
    if fault := found["shape_fault"]:
        return wrong(fault, "fix params.yaml: medtune params set KEY=VALUE")
    if fault := found["weights_fault"]:
        return wrong(fault, RESTORE if model.weights == "bundled" else FILE)
    told = f"{found['parameters']:,} parameters in {model.backbone}"
    if model.weights in ("hub", "none"):
        none = "random, by model.weights: none" if model.weights == "none" else "from the hub, see below"
        return ok(f"{none}; {told}")
    if model.weights == "bundled":
        return _bundled(model.backbone, told)
    file = PROJECT / model.weights
    unpickled = "" if file.suffix == ".safetensors" else ", read without running code"
    return ok(f"{file.name}, {size(file.stat().st_size)}{unpickled}, fits; {told}")


def hub(job: Job) -> Finding:
    """Whether the model hub answers; wrong only where these params need it and nothing is in its cache."""
    endpoint = os.environ.get("HF_ENDPOINT", PUBLIC).rstrip("/")
    needed = job.params.model.weights == "hub"
    name, cached = job.facts.get("hub_id"), bool(job.facts.get("cached"))
    have = f"; the weights of {job.params.model.backbone} were fetched before" if cached else ""
    forbidden = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    if job.offline or forbidden:
        told = f"{endpoint} not asked ({'--offline' if job.offline else 'HF_HUB_OFFLINE is set'}){have}"
        if needed and not cached:
            return wrong(f"{told}; the weights are needed and not in its cache", _instead())
        return ok(told)
    fault = _fault(job, f"{endpoint}/{name}/resolve/main/config.json" if needed and name else endpoint)
    if fault is None:
        return ok(f"{endpoint} answers{have}")
    told = f"{endpoint} does not answer ({fault})"
    if needed and not cached:
        return wrong(told, _instead())
    why = have.removeprefix("; ") if needed else "not needed: model.weights is " + job.params.model.weights
    return warning(f"{told}; {why}", "HF_HUB_OFFLINE=1 saves its attempts; HF_ENDPOINT names a mirror")


def _instead() -> str:
    return "a connection or proxy (HTTPS_PROXY), a mirror (HF_ENDPOINT), or a local file in model.weights"


def _fault(job: Job, url: str) -> str | None:
    import httpx

    try:
        answer = httpx.head(url, timeout=HUB_S, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return first_line(error)
    job.facts["date"] = answer.headers.get("date")
    return f"status {answer.status_code}" if answer.status_code >= 400 and answer.status_code != 405 else None


def _bundled(backbone: str, told: str) -> Finding:
    file: Path = BUNDLED / f"{backbone}.safetensors"  # held against its card when it was read
    return ok(f"bundled, sha256 {file_sha256(file)[:12]}... as its card says; {told}")
