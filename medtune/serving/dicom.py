"""Reading of DICOM files with pydicom (extra `dicom`). The pixels are those that a viewer displays.

A modality LUT (lookup table) converts stored values to values of the modality, for example Hounsfield units. A VOI LUT
or window selects the displayed range of these values.
"""

import io
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
    """Decode a DICOM file. Apply its modality LUT, its display window (VOI LUT), and its kind of pixels.

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
    kind = str(dataset.get("PhotometricInterpretation") or "")
    if kind == "PALETTE COLOR":
        return DecodedImage(_palette(pixels, dataset))
    if pixels.ndim == 3:
        return _color(pixels, kind, dataset)
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise DecodeError(f"DICOM pixels of kind {kind or 'unknown'} are not supported")
    return _gray(pixels, kind == "MONOCHROME1", dataset, apply_voi)


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


def _palette(pixels: np.ndarray, dataset: "Dataset") -> np.ndarray:
    """Convert palette indices to uint8 RGB."""
    from pydicom.pixels.processing import apply_color_lut

    colors = apply_color_lut(pixels, dataset)[..., :3]
    bits = int(dataset.RedPaletteColorLookupTableDescriptor[2])
    return colors if bits == 8 and colors.dtype == np.uint8 else (colors.astype(np.uint32) >> 8).astype(np.uint8)


def _color(pixels: np.ndarray, kind: str, dataset: "Dataset") -> DecodedImage:
    """Return RGB pixels of 8 or 16 bits. Raise DecodeError for other colors."""
    if pixels.shape[2] != 3 or not (kind == "RGB" or kind.startswith("YBR_")):
        raise DecodeError(f"DICOM pixels of kind {kind or 'unknown'} with {pixels.shape[2]} channels are not supported")
    if pixels.dtype == np.uint8:
        return DecodedImage(pixels)
    if kind != "RGB" or pixels.dtype != np.uint16:
        raise DecodeError(f"DICOM color of {pixels.dtype} in {kind} is not supported")
    return DecodedImage(pixels, (0.0, float(2 ** int(dataset.BitsStored) - 1)))


def _gray(pixels: np.ndarray, inverted: bool, dataset: "Dataset", apply_voi: bool) -> DecodedImage:
    """Return gray pixels, after the modality LUT and, with `apply_voi`, the display window."""
    from pydicom.pixels.processing import apply_modality_lut

    try:
        values = apply_modality_lut(pixels, dataset)
        shown = _displayed(values, dataset) if apply_voi else None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, NotImplementedError) as error:
        raise DecodeError(
            f"the DICOM lookup table or window is invalid: {' '.join(str(error).split())[:160]}"
        ) from None
    if shown is not None:
        return _gray_8_bit(shown, inverted)
    bits = int(dataset.BitsStored)
    rescaled = values.dtype != pixels.dtype or not np.array_equal(values, pixels)
    if rescaled or pixels.dtype.kind != "u":
        # No range is declared, because the possible range (for example of Hounsfield units) far exceeds the used range.
        return DecodedImage(values.astype(np.float32), None, inverted)
    if bits == 8:
        return _gray_8_bit(pixels.astype(np.uint8), inverted)
    return DecodedImage(pixels.astype(np.uint16) if bits < 8 else pixels, (0.0, float(2**bits - 1)), inverted)


def _gray_8_bit(pixels: np.ndarray, inverted: bool) -> DecodedImage:
    return DecodedImage(np.repeat((255 - pixels if inverted else pixels)[..., None], 3, axis=2))


def _displayed(values: np.ndarray, dataset: "Dataset") -> np.ndarray | None:
    """Return the values in 8 bits after the VOI LUT or the first window; None without both (DICOM PS3.3, C.11.2)."""
    from pydicom import Dataset
    from pydicom.pixels.processing import apply_voi, apply_windowing

    if dataset.get("VOILUTSequence"):
        entries, _, depth = dataset.VOILUTSequence[0].LUTDescriptor
        if depth == 8 and entries > 256:
            raise ValueError(f"a lookup table of {entries} entries of 8 bits is not supported")
        windowed = apply_voi(np.rint(values).astype(np.int64), dataset)
        return np.asarray(np.rint(windowed * (255 / (2**depth - 1))), np.uint8)
    if dataset.get("WindowCenter") in (None, "") or dataset.get("WindowWidth") in (None, ""):
        return None
    # This dataset contains only the window, because the modality LUT is already applied. The output has 8 bits.
    window = Dataset()
    window.PhotometricInterpretation, window.BitsStored, window.PixelRepresentation = "MONOCHROME2", 8, 0
    window.WindowCenter, window.WindowWidth = dataset.WindowCenter, dataset.WindowWidth
    if dataset.get("VOILUTFunction"):
        window.VOILUTFunction = dataset.VOILUTFunction
    return np.asarray(np.rint(np.clip(apply_windowing(values, window), 0, 255)), np.uint8)
