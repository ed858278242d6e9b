"""HTTP service for a bundle (`medtune serve`).

POST /predict accepts one image as the body, or several images as multipart/form-data. A bundle for volumes accepts one
volume (see `medtune.serving.volumes.uploads`). GET /healthz reports the status and GET /metadata describes the model.
The extra `serve` installs FastAPI and uvicorn. There is no authentication, so the service listens only on this machine
by default.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.serving.bundle import Bundle
from medtune.serving.manifest import BundleError
from medtune.serving.pixels import DecodeError
from medtune.serving.slides.predict import COUNT, predict_upload
from medtune.serving.slides.slide import MissingReaderError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from medtune.serving.volumes.bundle import VolumeBundle

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
    "volumes",
    "exported",
    "members",
    "data",
    "metrics",
    "notice",
    "sha256",
)

# The endpoint parses the body itself, because FastAPI cannot accept both a single image and multipart/form-data.
_BINARY = {"type": "string", "format": "binary"}
REQUEST_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"files": {"type": "array", "items": _BINARY}},
                "required": ["files"],
            }
        },
        **{kind: {"schema": _BINARY} for kind in ("image/*", "application/dicom", "application/octet-stream")},
    },
}


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


def create_app(bundle: "Bundle | VolumeBundle", max_bytes: int = 64 << 20, max_images: int = 64) -> "FastAPI":
    """Create the web application for a bundle.

    Args:
        bundle: the loaded bundle.
        max_bytes: maximum size of a request body. Larger requests get status 413.
        max_images: maximum number of images per request. Requests with more images get status 413.

    Returns:
        The FastAPI application.

    Raises:
        BundleError: FastAPI is not installed. The message names the package to install.
    """
    try:
        from fastapi import FastAPI, HTTPException, Request, Response
        from fastapi.concurrency import run_in_threadpool

        from medtune.serving.uploads import TooManyFilesError, read_files
    except ImportError:
        raise BundleError(INSTALL) from None
    app = FastAPI(title=bundle.manifest.get("name", "MedTune bundle"))

    async def read(request: Request) -> list[tuple[str, bytes]]:
        async def body() -> AsyncGenerator[bytes, None]:
            size = 0
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise HTTPException(413, f"the request is larger than {max_bytes:,} bytes")
                yield chunk

        if request.headers.get("content-type", "").startswith("multipart/"):
            try:
                return await read_files(request.headers, body(), max_images)
            except TooManyFilesError as error:
                raise HTTPException(413, str(error)) from None
            except ValueError as error:
                raise HTTPException(400, str(error)) from None
        return [("image", b"".join([chunk async for chunk in body()]))]

    async def predict(request: Request) -> Any:
        files = await read(request)
        if not isinstance(bundle, Bundle):
            return await segment(request, files)
        entries = await run_in_threadpool(predict_uploads, bundle, files)
        if all("error" in entry for entry in entries):
            raise HTTPException(422, [{key: entry[key] for key in ("name", "error")} for entry in entries])
        return {"predictions": entries}

    async def segment(request: Request, files: list[tuple[str, bytes]]) -> Any:
        from medtune.serving.volumes.uploads import (
            IMAGE_MEDIA_TYPE,
            MEDIA_TYPE,
            StorageError,
            TooLargeError,
            segment_upload,
        )

        assert not isinstance(bundle, Bundle)
        try:
            entry, label_map = await run_in_threadpool(segment_upload, bundle, files)
        except TooLargeError as error:
            raise HTTPException(413, str(error)) from None
        except DecodeError as error:
            raise HTTPException(422, [{"name": files[0][0], "error": str(error)}]) from None
        except StorageError as error:
            raise HTTPException(507, str(error)) from None
        except RuntimeError as error:
            reason = str(error).removeprefix(f"{bundle.folder}: ")
            raise HTTPException(500, [{"name": files[0][0], "error": reason}]) from None
        if "application/json" in request.headers.get("accept", ""):
            return {"predictions": [entry]}
        return Response(label_map, media_type=IMAGE_MEDIA_TYPE if bundle.settings.is_planar else MEDIA_TYPE)

    def healthz() -> dict[str, Any]:
        return {"status": "ok", "precision": bundle.precision, "providers": bundle.providers}

    def metadata() -> dict[str, Any]:
        info = {key: bundle.manifest[key] for key in MODEL_INFO_KEYS if key in bundle.manifest}
        if isinstance(info.get("data"), dict):  # older bundles list patient ids under this key
            info["data"] = {key: value for key, value in info["data"].items() if key != "leaked_patients"}
        return info

    # No `from __future__ import annotations` here: FastAPI could not resolve the local name `Request` from a string.
    app.post("/predict", openapi_extra={"requestBody": REQUEST_BODY})(predict)
    app.get("/healthz")(healthz)
    app.get("/metadata")(metadata)
    return app


def serve(bundle: "Bundle | VolumeBundle", host: str, port: int, max_bytes: int, max_connections: int) -> None:
    """Answer requests until the process is interrupted.

    Args:
        bundle: the loaded bundle.
        host: address to listen on.
        port: port to listen on.
        max_bytes: maximum size of a request body. Larger requests get status 413.
        max_connections: maximum number of concurrent connections. Further connections get status 503.

    Raises:
        BundleError: FastAPI or uvicorn is not installed. The message names the package to install.
    """
    app = create_app(bundle, max_bytes)
    try:
        import uvicorn
    except ImportError:
        raise BundleError(INSTALL) from None
    # Each connection may need memory for a request of maximum size and a decoded image of 50 million pixels.
    uvicorn.run(app, host=host, port=port, log_level="warning", limit_concurrency=max_connections + 1)
