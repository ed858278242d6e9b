"""Conversion of the pixels of a DICOM file to an image, as a viewer displays them.

A modality LUT (lookup table) converts stored values to values of the modality, for example Hounsfield units. A VOI LUT
or a window converts these to the gray values that are displayed.
"""

from typing import TYPE_CHECKING

import numpy as np

from medtune.serving.pixels import DecodedImage, DecodeError

if TYPE_CHECKING:
    from pydicom import Dataset


def to_image(pixels: np.ndarray, dataset: "Dataset", apply_voi: bool) -> DecodedImage:
    """Convert the pixels of one frame.

    Args:
        pixels: (rows, columns), or RGB (rows, columns, 3).
        dataset: the DICOM file.
        apply_voi: apply the display window of the file, which yields 8 bits. If False, the values of the modality are
            kept.

    Returns:
        The image.

    Raises:
        DecodeError: the kind of pixels is not supported, or a lookup table or window is invalid.
    """
    kind = str(dataset.get("PhotometricInterpretation") or "")
    if kind == "PALETTE COLOR":
        return DecodedImage(_palette(pixels, dataset))
    if pixels.ndim == 3:
        return _color(pixels, kind, dataset)
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise DecodeError(f"DICOM pixels of kind {kind or 'unknown'} are not supported")
    return _gray(pixels, kind == "MONOCHROME1", dataset, apply_voi)


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
