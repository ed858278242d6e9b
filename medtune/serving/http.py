"""A bundle as a small HTTP service: `medtune serve`.

POST /predict takes one image as the body, or several as multipart/form-data; GET /healthz and /metadata.
FastAPI and uvicorn come with the extra `serve`.
There is no authentication: it binds to this machine unless told otherwise.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.serving.bundle import Bundle, BundleError
from medtune.serving.multipart import read_parts
from medtune.serving.pixels import DecodeError
from medtune.serving.slides.predict import COUNT, predict_upload
from medtune.serving.slides.slide import MissingReaderError

if TYPE_CHECKING:
    from fastapi import FastAPI

INSTALL = 'FastAPI and uvicorn are not installed. Run pip install "medtune[serve]"'
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
    "exported",
    "members",
    "data",
    "metrics",
    "notice",
    "sha256",
)


def predict_uploads(bundle: Bundle, files: Sequence[tuple[str, bytes]]) -> list[dict[str, Any]]:
    """One entry an image, in order: `name`, and what the task's `entry` gives, or `error`."""
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
        found = predict_upload(bundle, name, content)
    except (DecodeError, MissingReaderError) as error:
        return {"name": name, "error": str(error)}
    return {"name": name, **bundle.task.entry(found.row, bundle.manifest), COUNT: len(found.tiles)}


def create_app(bundle: Bundle, max_bytes: int = 64 << 20, max_images: int = 64) -> "FastAPI":
    """The service around a loaded bundle.

    Args:
        bundle: what answers.
        max_bytes: largest request body; above it 413.
        max_images: most images in one request; above it 413.

    Raises:
        BundleError: FastAPI is not installed; the message says what to install.
    """
    try:
        from fastapi import FastAPI, HTTPException, Request
        from fastapi.concurrency import run_in_threadpool
    except ImportError:
        raise BundleError(INSTALL) from None
    app = FastAPI(title=bundle.manifest.get("name", "MedTune bundle"))

    async def predict(request: Request) -> dict[str, Any]:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise HTTPException(413, f"the request is over {max_bytes:,} bytes")
        kind = request.headers.get("content-type", "")
        try:
            files = read_parts(kind, bytes(body)) if kind.startswith("multipart/") else [("image", bytes(body))]
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        if len(files) > max_images:
            raise HTTPException(413, f"{len(files)} images in one request; at most {max_images}")
        entries = await run_in_threadpool(predict_uploads, bundle, files)
        if all("error" in entry for entry in entries):
            raise HTTPException(422, [{key: entry[key] for key in ("name", "error")} for entry in entries])
        return {"predictions": entries}

    def healthz() -> dict[str, Any]:
        return {"status": "ok", "precision": bundle.precision, "providers": bundle.providers}

    def metadata() -> dict[str, Any]:
        shown = {key: bundle.manifest[key] for key in MODEL_INFO_KEYS if key in bundle.manifest}
        if isinstance(shown.get("data"), dict):  # older bundles name patients there
            shown["data"] = {key: value for key, value in shown["data"].items() if key != "leaked_groups"}
        return shown

    # FastAPI finds `Request` in these annotations although it is imported here: they are objects, not strings.
    app.post("/predict")(predict)
    app.get("/healthz")(healthz)
    app.get("/metadata")(metadata)
    return app


def serve(bundle: Bundle, host: str, port: int, max_bytes: int, max_connections: int) -> None:
    """Serve until interrupted.

    Args:
        bundle: what answers.
        host: address to listen on.
        port: port to listen on.
        max_bytes: largest request body; above it 413.
        max_connections: most connections at once; above it 503.

    Raises:
        BundleError: FastAPI or uvicorn is not installed; the message says what to install.
    """
    app = create_app(bundle, max_bytes)
    try:
        import uvicorn
    except ImportError:
        raise BundleError(INSTALL) from None
    # Each connection may hold a request of the largest size and a decoded image of fifty million pixels.
    uvicorn.run(app, host=host, port=port, log_level="warning", limit_concurrency=max_connections + 1)
