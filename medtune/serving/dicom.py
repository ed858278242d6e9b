"""Reading of DICOM files with pydicom (extra `dicom`). The pixels are those that a viewer displays."""

import io
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.serving.dicom_display import to_image
from medtune.serving.dicom_limits import DicomBytes, DicomFile, check_frame
from medtune.serving.pixels import DecodedImage, DecodeError

if TYPE_CHECKING:
    from pydicom import Dataset

INSTALL = 'a DICOM file; pydicom is not installed. Run pip install "medtune[dicom]"'
# pydicom warns about unusual metadata, which many files contain. Damaged pixels still raise errors.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom\..*")
_PREAMBLE = 128  # bytes before the signature DICM
# Files without a preamble begin with an element of group 2 or 8.
_BARE = (b"\x02\x00\x00\x00", b"\x02\x00\x01\x00", b"\x02\x00\x02\x00", b"\x02\x00\x10\x00",
         b"\x08\x00\x00\x00", b"\x08\x00\x01\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00",
         b"\x08\x00\x12\x00", b"\x08\x00\x16\x00", b"\x08\x00\x18\x00")  # fmt: skip


@dataclass(frozen=True)
class DicomHeader:
    """Header fields of a DICOM file that describe its image.

    Attributes:
        size: (width, height) in pixels; None for a file without an image.
        patient_id: PatientID; None if it is missing or empty.
        frames: number of images in the file.
        spacing_mm: distance between rows and between columns in mm; None if unknown.
        burned_in: True if text or marks may be burned into the pixels.
        overlays: number of overlays, which are not part of the pixels.
    """

    size: tuple[int, int] | None
    patient_id: str | None
    frames: int
    spacing_mm: tuple[float, float] | None
    burned_in: bool
    overlays: int


def is_dicom(content: bytes) -> bool:
    """Return True if the content begins like a DICOM file. `content` may be only the first 132 bytes of the file."""
    return content[_PREAMBLE : _PREAMBLE + 4] == b"DICM" or content[:4] in _BARE


def is_dicom_file(file: Path) -> bool:
    """Return True for a regular file that begins like a DICOM file."""
    try:
        if not file.is_file():  # a pipe would block
            return False
        with file.open("rb") as stream:
            return is_dicom(stream.read(_PREAMBLE + 4))
    except OSError:
        return False


def read_header(file: Path) -> DicomHeader:
    """Read the header of a DICOM file without its pixels.

    Args:
        file: path of the file.

    Returns:
        The fields that describe the image.

    Raises:
        DecodeError: pydicom is not installed, or the file is damaged or deflated.
    """
    try:
        with DicomFile(io.FileIO(file)) as stream:
            dataset = _parse(stream, stop_before_pixels=True)
    except OSError as error:
        raise DecodeError(f"cannot be read: {error.strerror}") from None
    patient = str(dataset.get("PatientID") or "").strip()
    spacing = dataset.get("PixelSpacing") or dataset.get("ImagerPixelSpacing")
    overlays = sum(1 for group in range(0x6000, 0x6020, 2) if (group, 0x0010) in dataset)
    rows, columns = dataset.get("Rows"), dataset.get("Columns")
    return DicomHeader(
        (int(columns), int(rows)) if rows and columns else None,
        patient or None,
        int(dataset.get("NumberOfFrames") or 1),
        (float(spacing[0]), float(spacing[1])) if spacing is not None and len(spacing) == 2 else None,
        str(dataset.get("BurnedInAnnotation") or "").upper() == "YES",
        overlays,
    )


def read_dicom(content: bytes, max_pixels: int, apply_voi: bool = True, frame: int | None = None) -> DecodedImage:
    """Decode a DICOM file. Convert its pixels as `medtune.serving.dicom_display` describes.

    Args:
        content: the bytes of the file.
        max_pixels: larger images are rejected before decoding.
        apply_voi: apply the display window of the file, which yields 8 bits. If False, the values of the modality are
            kept, for example Hounsfield units.
        frame: index of the frame, from 0. None if the file has exactly one frame.

    Returns:
        The pixels of the frame.

    Raises:
        DecodeError: pydicom is not installed, the file is damaged or has no pixels, its compression or kind of pixels
            is not supported, or the frame does not exist. Or `frame` is None, but the file has several frames.
    """
    dataset = _parse(DicomBytes(content))
    if "Rows" not in dataset or "Columns" not in dataset:
        raise DecodeError(f"a DICOM file without an image ({dataset.get('Modality') or 'no modality'})")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if rows * columns > max_pixels:
        raise DecodeError(f"{columns} x {rows} pixels; at most {max_pixels:,} are decoded")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1 and frame is None:
        raise DecodeError(f"{frames} frames in one DICOM file; expected one image. Set data.frames=expand for training")
    if frame is not None and not 0 <= frame < frames:
        raise DecodeError(f"frame {frame} does not exist in a DICOM file with {frames} frames")
    pixels = _pixels(dataset, frame or 0)
    _apply_functional_groups(dataset, frame or 0)
    return to_image(pixels, dataset, apply_voi)


def _parse(stream: Any, stop_before_pixels: bool = False) -> "Dataset":
    try:
        import pydicom
    except ImportError:
        raise DecodeError(INSTALL) from None
    from pydicom.errors import InvalidDicomError

    try:
        return pydicom.dcmread(stream, stop_before_pixels=stop_before_pixels, force=True)
    except DecodeError:
        raise
    except (InvalidDicomError, EOFError, ValueError, KeyError, NotImplementedError, OSError, TypeError) as error:
        raise DecodeError(f"damaged DICOM file: {' '.join(str(error).split())[:160]}") from None


def _pixels(dataset: "Dataset", frame: int) -> np.ndarray:
    """Return the stored pixels as (rows, columns), or as RGB (rows, columns, 3). YBR colors are converted to RGB."""
    from pydicom.pixels.utils import pixel_array

    from medtune.serving import dicom_codecs

    dicom_codecs.register()
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise DecodeError("a DICOM file without pixels")
    try:
        check_frame(dataset, frame, (int(dataset.Columns), int(dataset.Rows)))
        return pixel_array(dataset, index=frame)
    except DecodeError:
        raise
    except Exception as error:  # decoders raise every kind of error on damaged or unsupported files
        syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
        name = getattr(syntax, "name", None) or "an unknown transfer syntax"
        raise DecodeError(f"DICOM pixels ({name}) cannot be decoded: {' '.join(str(error).split())[:160]}") from None


def _apply_functional_groups(dataset: "Dataset", frame: int) -> None:
    """Copy the rescaling and the window of a frame to the top level of an enhanced DICOM file.

    Ordinary DICOM files store these elements at the top level.
    """
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    groups = [*per_frame[frame : frame + 1], *(dataset.get("SharedFunctionalGroupsSequence") or [])]
    for group in groups:
        for sequence in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in group.get(sequence) or []:
                for element in item:
                    if element.tag not in dataset:
                        dataset.add(element)
