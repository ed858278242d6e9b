"""One slice of a DICOM series: header fields and rescaled pixels (needs the extra `dicom`)."""

import logging
import warnings
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medtune.serving.decode import MAX_BYTES
from medtune.serving.dicom import INSTALL, is_dicom_file
from medtune.serving.dicom_limits import DicomFile, check_frame
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.slice_stack import SlicePlace

if TYPE_CHECKING:
    from pydicom import Dataset

# pydicom warns about odd metadata, which many files contain. Problems with the pixels still raise errors.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom\..*")
SERIES = "SeriesInstanceUID"
# Elements that are equal in all slices of a volume. Otherwise, positions or pixel values have different meanings.
SAME = (SERIES, "FrameOfReferenceUID", "Modality", "RescaleType", "Units")
_CODE_CHARS = 16  # longest value of type Code String
_DICOMDIR = "1.2.840.10008.1.3.10"  # UID of the index file DICOMDIR, which has no image


@dataclass(frozen=True)
class DicomSlice:
    """The header of a slice.

    Attributes:
        path: the file.
        place: position, directions and size of the slice.
        same: values of the elements `SAME`; empty text for a missing element.
        has_rescale: True if the file declares how stored values are rescaled.
    """

    path: Path
    place: SlicePlace
    same: tuple[str, ...]
    has_rescale: bool


def read_slice(path: Path, name: str) -> DicomSlice | None:
    """Read the header of a slice without its pixels.

    Args:
        path: the file.
        name: name of the file in messages.

    Returns:
        The header; None for the index file DICOMDIR.

    Raises:
        DecodeError: pydicom is not installed, the file is too large or not DICOM, or it is not one gray slice with a
            known position and series.
    """
    if not is_dicom_file(path):
        raise DecodeError("damaged or not a DICOM file")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise DecodeError(f"{size:,} bytes; at most {MAX_BYTES:,} are read for one slice")
    try:
        return _describe(read_dataset(path, stop_before_pixels=True), path, name)
    except DecodeError:
        raise
    except Exception as error:  # pydicom converts a value, and reports that it is invalid, on its first use
        raise DecodeError(f"damaged DICOM file: {_one_line(error)}") from None


def read_values(entry: DicomSlice) -> np.ndarray:
    """Decode the pixels of a slice and rescale them with its modality LUT, or its RescaleSlope and RescaleIntercept.

    Args:
        entry: header of the slice.

    Returns:
        (rows, columns), integers or float64.

    Raises:
        DecodeError: the pixels are damaged or have another size than the header states, or their transfer syntax is
            not supported.
    """
    from pydicom.pixels.processing import apply_modality_lut
    from pydicom.pixels.utils import pixel_array

    from medtune.serving import dicom_codecs

    dicom_codecs.register()
    dataset = read_dataset(entry.path)
    try:
        check_frame(dataset, 0, entry.place.shape)
        values = np.asarray(apply_modality_lut(pixel_array(dataset, index=0), dataset))
    except DecodeError:
        raise
    except Exception as error:  # decoders raise every kind of error on damaged or unsupported files
        syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
        name = getattr(syntax, "name", None) or "an unknown transfer syntax"
        raise DecodeError(f"DICOM pixels ({name}) cannot be decoded: {_one_line(error)}") from None
    if values.shape != (expected := entry.place.shape[::-1]):
        raise DecodeError(f"the pixels have shape {values.shape}; the header states {expected}")
    return values


def _describe(dataset: "Dataset", path: Path, name: str) -> DicomSlice | None:
    """Check the elements of a slice (see `read_slice`)."""
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and meta.get("MediaStorageSOPClassUID") == _DICOMDIR:
        return None
    if not dataset.get("Rows") or not dataset.get("Columns"):
        raise DecodeError(f"a DICOM file without an image ({_shown(dataset.get('Modality')) or 'no modality'})")
    if (frames := int(dataset.get("NumberOfFrames") or 1)) > 1:
        raise DecodeError(f"{frames} frames in one DICOM file; expected one slice. Convert the file to NIfTI")
    kind = _shown(dataset.get("PhotometricInterpretation"))
    if dataset.get("SamplesPerPixel", 1) != 1 or kind != "MONOCHROME2":
        raise DecodeError(f"pixels of kind {kind or 'unknown'}; expected MONOCHROME2")
    if not dataset.get(SERIES):
        raise DecodeError(f"{SERIES} is missing, so it is unknown to which series the slice belongs")
    place = SlicePlace(
        name,
        _numbers(dataset, "ImagePositionPatient", 3),
        _numbers(dataset, "ImageOrientationPatient", 6),
        _numbers(dataset, "PixelSpacing", 2),
        (int(dataset.Columns), int(dataset.Rows)),
    )
    has_table = "ModalityLUTSequence" in dataset
    has_rescale = "RescaleSlope" in dataset or "RescaleIntercept" in dataset
    if has_rescale and not has_table:
        _numbers(dataset, "RescaleIntercept", 1)
        if _numbers(dataset, "RescaleSlope", 1) == (0.0,):
            raise DecodeError("RescaleSlope is 0")
    return DicomSlice(path, place, tuple(str(dataset.get(keyword) or "") for keyword in SAME), has_rescale or has_table)


def _shown(value: object) -> str:
    """Return the start of a value of type Code String. A damaged value may contain the rest of the file."""
    return str(value or "")[:_CODE_CHARS]


def _numbers(dataset: "Dataset", keyword: str, count: int) -> tuple[float, ...]:
    """Return the finite numbers of an element; raise DecodeError if there are not `count` of them."""
    value = dataset.get(keyword)
    if value is None or value == "":
        raise DecodeError(f"{keyword} is missing")
    numbers = tuple(np.atleast_1d(np.asarray(value, np.float64)).tolist())
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise DecodeError(f"{keyword} is {str(value)[:80]}; expected finite numbers: {count}")
    return numbers


def read_dataset(path: Path, stop_before_pixels: bool = False) -> "Dataset":
    """Read a DICOM file.

    Args:
        path: the file.
        stop_before_pixels: read only the header.

    Returns:
        The elements, which pydicom converts on their first use.

    Raises:
        DecodeError: pydicom is not installed, or the file is deflated or damaged.
    """
    try:
        import pydicom
    except ImportError:
        raise DecodeError(INSTALL) from None
    try:
        with DicomFile(FileIO(path)) as stream:
            return pydicom.dcmread(stream, stop_before_pixels=stop_before_pixels, force=True)
    except DecodeError:
        raise
    except Exception as error:  # parsers raise every kind of error on damaged files
        raise DecodeError(f"damaged DICOM file: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
