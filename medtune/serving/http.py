"""HTTP service for a bundle (`medtune serve`).

POST /predict accepts one image as the body, or several images as multipart/form-data. A bundle for volumes accepts one
volume (see `medtune.serving.volumes.http`). GET /healthz reports the status and GET /metadata describes the model. The
extra `serve` installs FastAPI and uvicorn. There is no authentication, so the service listens only on this machine by
default.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.serving import openapi
from medtune.serving.bundle import Bundle
from medtune.serving.manifest import BundleError
from medtune.serving.pixels import DecodeError
from medtune.serving.request_errors import RequestError
from medtune.serving.slides.predict import COUNT, predict_upload
from medtune.serving.slides.slide import MissingReaderError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from medtune.serving.volumes.bundle import VolumeBundle

INSTALL = 'FastAPI and uvicorn are not installed. Run pip install "medtune[serve]"'
# Defaults for images.
MAX_BYTES, MAX_IMAGES = 64 << 20, 64
MODEL_INFO_KEYS = (
    "name",
    "schema_version",
    "task",
    "classes",
    "input",
    "output",
    "preprocessing",
    "decision",
    "prediction_sets",
    "temperature",
    "calibration",
    "no_finding",
    "aggregation",
    "tiles",
    "volumes",
    "exported",
    "members",
    "data",
    "metrics",
    "notice",
    "sha256",
)


def predict_uploads(bundle: Bundle, files: Sequence[tuple[str, bytes]]) -> list[dict[str, Any]]:
    """Predict uploaded images.

    Args:
        bundle: the loaded bundle.
        files: name and bytes per image.

    Returns:
        One dictionary per image, in order. It has `name`, and either `error` or the keys of the task's `entry`.
    """
    if bundle.is_for_slides:
        return [_predict_slide(bundle, name, content) for name, content in files]
    entries: list[dict[str, Any]] = [{"name": name} for name, _ in files]
    images = []
    for entry, (_, content) in zip(entries, files, strict=True):
        try:
            images.append((entry, bundle.prepare(content)))
        except DecodeError as error:
            entry["error"] = str(error)
    if images:
        rows = bundle.rows(bundle.run(np.stack([image for _, image in images])))
        for (entry, _), row in zip(images, rows, strict=True):
            entry |= bundle.task.entry(row, bundle.manifest)
    return entries


def _predict_slide(bundle: Bundle, name: str, content: bytes) -> dict[str, Any]:
    try:
        slide = predict_upload(bundle, name, content)
    except (DecodeError, MissingReaderError) as error:
        return {"name": name, "error": str(error)}
    return {"name": name, **bundle.task.entry(slide.row, bundle.manifest), COUNT: len(slide.tiles)}


def create_app(
    bundle: "Bundle | VolumeBundle",
    max_bytes: int | None = None,
    max_images: int = MAX_IMAGES,
    codes: Path | None = None,
) -> "FastAPI":
    """Create the web application for a bundle.

    Args:
        bundle: the loaded bundle.
        max_bytes: maximum size of a request body. Larger requests get status 413. Default: see `default_max_bytes`.
        max_images: maximum number of images per request. Requests with more images get status 413.
        codes: file with the codes of labels, for a bundle that segments volumes.

    Returns:
        The FastAPI application.

    Raises:
        BundleError: FastAPI is not installed, or `codes` cannot be used. The message states the fix.
    """
    try:
        from fastapi import FastAPI, HTTPException, Request
        from fastapi.concurrency import run_in_threadpool
        from fastapi.responses import JSONResponse
        from starlette.requests import ClientDisconnect

        from medtune.serving.uploads import limited, read_files
    except ImportError:
        raise BundleError(INSTALL) from None
    app = FastAPI(title=bundle.manifest.get("name", "MedTune bundle"))
    size = default_max_bytes(bundle) if max_bytes is None else max_bytes

    async def predict(request: Request) -> Any:
        assert isinstance(bundle, Bundle)
        body = limited(request.headers, request.stream(), size)
        files = await read_files(request.headers, body, max_images)
        entries = await run_in_threadpool(predict_uploads, bundle, files)
        if all("error" in entry for entry in entries):
            raise HTTPException(422, [{key: entry[key] for key in ("name", "error")} for entry in entries])
        return {"predictions": entries}

    async def refuse(request: Request, error: RequestError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, error.status)

    async def ignore(request: Request, error: ClientDisconnect) -> JSONResponse:
        return JSONResponse({"detail": "the client closed the connection"}, 400)  # nobody receives it

    async def healthz() -> dict[str, Any]:  # without a thread, as all may be waiting for a volume
        return {"status": "ok", "precision": bundle.precision, "providers": bundle.providers}

    def metadata() -> dict[str, Any]:
        info = {key: bundle.manifest[key] for key in MODEL_INFO_KEYS if key in bundle.manifest}
        if isinstance(info.get("data"), dict):  # older bundles list patient ids under this key
            info["data"] = {key: value for key, value in info["data"].items() if key != "leaked_patients"}
        return info

    # No `from __future__ import annotations` here: FastAPI could not resolve the local name `Request` from a string.
    if isinstance(bundle, Bundle):
        if codes is not None:
            raise BundleError(f"--codes={codes}: {bundle.folder} does not segment volumes. Remove the option")
        app.post("/predict", openapi_extra={"requestBody": openapi.request_body()})(predict)
    else:
        from medtune.serving.volumes.http import add_predict

        add_predict(app, bundle, size, codes)
    app.exception_handler(RequestError)(refuse)
    app.exception_handler(ClientDisconnect)(ignore)
    app.get("/healthz")(healthz)
    app.get("/metadata")(metadata)
    return app


def default_max_bytes(bundle: "Bundle | VolumeBundle") -> int:
    """Return the default maximum size of a request in bytes: 512 MB for volumes, otherwise 64 MB."""
    if isinstance(bundle, Bundle) or bundle.settings.is_planar:
        return MAX_BYTES
    from medtune.serving.volumes.http import MAX_BYTES as MAX_VOLUME_BYTES

    return MAX_VOLUME_BYTES


def serve(
    bundle: "Bundle | VolumeBundle",
    host: str,
    port: int,
    max_bytes: int | None,
    max_connections: int,
    codes: Path | None = None,
) -> None:
    """Answer requests until the process is interrupted.

    Args:
        bundle: the loaded bundle.
        host: address to listen on.
        port: port to listen on.
        max_bytes: see `create_app`.
        max_connections: maximum number of concurrent connections. Further connections get status 503.
        codes: see `create_app`.

    Raises:
        BundleError: FastAPI or uvicorn is not installed, or `codes` cannot be used.
    """
    app = create_app(bundle, max_bytes, codes=codes)
    try:
        import uvicorn
    except ImportError:
        raise BundleError(INSTALL) from None
    # Each connection may need memory for a request of maximum size and a decoded image of 50 million pixels.
    uvicorn.run(app, host=host, port=port, log_level="warning", limit_concurrency=max_connections + 1)
