"""Endpoint `POST /predict` of a bundle (an exported model) that segments volumes or images (`medtune serve`)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.serving.manifest import BundleError
from medtune.serving.openapi import BINARY, IMAGES, JSON_MEDIA_TYPE, request_body
from medtune.serving.pixels import DecodeError
from medtune.serving.request_errors import NotAcceptableError, NotInstalledError
from medtune.serving.volumes.answer_kind import DICOM_MEDIA_TYPE, requested_kind
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.dicom_seg import DicomSegFormat, missing_package
from medtune.serving.volumes.label_map_format import DefaultFormat, LabelMapFormat
from medtune.serving.volumes.upload_files import UploadedFile
from medtune.serving.volumes.uploads import (
    IMAGE_MEDIA_TYPE,
    NIFTI_MEDIA_TYPE,
    Answer,
    segment_upload,
    temporary_folder,
)

if TYPE_CHECKING:
    from fastapi import FastAPI

# Default limit of a request: the largest accepted number of voxels in 16 bits.
MAX_BYTES = 512 << 20
MAX_FILES = 2_000  # slices of a series
VOLUMES = (NIFTI_MEDIA_TYPE, "application/octet-stream", "application/zip")
VOLUME_UPLOAD = (
    "One volume: a NIfTI file, a ZIP archive of a DICOM series, or a form with one NIfTI file per channel or with the "
    "DICOM files of a series. The content decides, not the media type."
)
ENTRIES = {"type": "object", "properties": {"predictions": {"type": "array", "items": {"type": "object"}}}}
PROBLEMS = {
    400: "The form is invalid.",
    406: "The requested format is not possible for this upload.",
    413: "The request or the volume is too large.",
    422: "The volume cannot be used.",
    500: "The network failed.",
    501: "DICOM-SEG was requested, but highdicom is not installed.",
    507: "The temporary folder cannot be written.",
}


def add_predict(app: "FastAPI", bundle: VolumeBundle, max_bytes: int, codes: Path | None = None) -> None:
    """Add the endpoint to an application.

    Args:
        app: the application. It must answer a `RequestError` with the status of the error.
        bundle: the loaded bundle.
        max_bytes: maximum size of a request body.
        codes: file with the codes of labels in a DICOM-SEG (see `read_codes`); None for no codes.

    Raises:
        medtune.serving.manifest.BundleError: `codes` is invalid, or highdicom is not installed.
    """
    from fastapi import HTTPException, Request, Response
    from fastapi.concurrency import run_in_threadpool
    from fastapi.responses import JSONResponse

    from medtune.serving.uploads import limited, store_files

    dicom_seg = None if codes is None else _read_codes(bundle, codes)

    def choose_writer(accept: str) -> LabelMapFormat | None:
        kind = requested_kind(accept)
        if kind != "dicom_seg":
            return DefaultFormat() if kind == "label_map" else None
        if bundle.settings.is_planar:
            raise NotAcceptableError(f"{DICOM_MEDIA_TYPE}: the bundle segments images. Request image/png")
        if problem := missing_package():
            raise NotInstalledError(f"{DICOM_MEDIA_TYPE}: the service cannot write DICOM-SEG, because {problem}")
        return dicom_seg or DicomSegFormat.from_manifest(bundle.manifest)

    def segment(files: list[UploadedFile], folder: Path, writer: LabelMapFormat | None) -> Answer:
        try:
            return segment_upload(bundle, files, folder, writer)
        except DecodeError as error:
            raise HTTPException(422, [{"name": files[0][0], "error": str(error)}]) from None
        except RuntimeError as error:
            reason = str(error).removeprefix(f"{bundle.folder}: ")
            raise HTTPException(500, [{"name": files[0][0], "error": reason}]) from None

    async def predict(request: Request) -> Response:
        writer = await run_in_threadpool(choose_writer, request.headers.get("accept", ""))
        with temporary_folder() as folder:
            body = limited(request.headers, request.stream(), max_bytes)
            files = await store_files(request.headers, body, MAX_FILES, folder)
            answer = await run_in_threadpool(segment, files, folder, writer)
        if answer.label_map is None:
            return JSONResponse({"predictions": [answer.entry]})
        return Response(answer.label_map, media_type=answer.media_type)

    planar = bundle.settings.is_planar
    body = request_body(IMAGES, "One image.") if planar else request_body(VOLUMES, VOLUME_UPLOAD)
    app.post("/predict", openapi_extra={"requestBody": body}, responses=_responses(planar))(predict)


def _read_codes(bundle: VolumeBundle, codes: Path) -> DicomSegFormat:
    """Return the format of a DICOM-SEG with the codes of a file."""
    if bundle.settings.is_planar:
        raise BundleError(f"--codes={codes}: {bundle.folder} segments images. Remove the option")
    if problem := missing_package():
        raise BundleError(f"--codes={codes}: {problem}")
    return DicomSegFormat.from_manifest(bundle.manifest, codes)


def _responses(planar: bool) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI object `responses`."""
    kinds = (IMAGE_MEDIA_TYPE,) if planar else (NIFTI_MEDIA_TYPE, DICOM_MEDIA_TYPE)
    described = "The label map in the format that Accept selects, or the size of each label as JSON."
    content = {kind: {"schema": BINARY} for kind in kinds} | {JSON_MEDIA_TYPE: {"schema": ENTRIES}}
    responses: dict[int | str, dict[str, Any]] = {status: {"description": text} for status, text in PROBLEMS.items()}
    responses[200] = {"description": described, "content": content}
    return responses
