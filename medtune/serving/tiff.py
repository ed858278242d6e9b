"""Decoding of TIFF files that Pillow does not read correctly.

These are files with more than 8 bits, floats, separate color planes, or extra channels.
"""

import io
import logging
from typing import TYPE_CHECKING

import numpy as np

from medtune.serving.pixels import DecodedImage, DecodeError

if TYPE_CHECKING:
    import tifffile  # slow to import, so it is imported in functions

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # damaged pixels still raise errors
# Values of TIFF tags.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_TOP_LEFT = 1
_CONTIGUOUS = 1
_UINT = 1


def read_tiff(content: bytes, max_pixels: int) -> DecodedImage | None:
    """Decode a TIFF file that Pillow does not support.

    Args:
        content: the bytes of the file.
        max_pixels: larger images are rejected before decoding.

    Returns:
        The pixels of the image, or None for an ordinary 8-bit file, which Pillow can read.

    Raises:
        DecodeError: the file is damaged or too large, or has several pages, transparency, extra channels or an
            unsupported kind of pixels.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as file:
        if (pages := len(file.pages)) != 1:
            raise DecodeError(f"{pages} pages in one file; expected one image")
        page = file.pages.first
        if page.imagewidth * page.imagelength > max_pixels:
            raise DecodeError(f"{page.imagewidth} x {page.imagelength} pixels; at most {max_pixels:,} are decoded")
        if page.imagedepth != 1:
            raise DecodeError(f"{page.imagedepth} slices in one file; expected one image")
        _check_kind(page)
        if _is_ordinary(page):
            return None
        _check_segments(page, len(content))
        return _to_image(page)


def _check_kind(page: "tifffile.TiffPage") -> None:
    """Raise DecodeError if the kind, the bits or the number of channels of the pixels is not supported."""
    kinds = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR)
    if page.photometric not in kinds:
        name = getattr(page.photometric, "name", page.photometric)
        raise DecodeError(f"TIFF pixels of kind {name} are not supported. Convert the file to RGB")
    bits = page.bitspersample
    if page.photometric in (_PALETTE, _CMYK, _YCBCR) and bits > 8:
        raise DecodeError(f"TIFF palette, CMYK or YCbCr pixels of {bits} bits are not supported. Convert them to RGB")
    colors = {_RGB: 3, _CMYK: 4, _YCBCR: 3}.get(int(page.photometric), 1)
    extra = page.samplesperpixel - colors
    if extra < 0 or extra > 1:
        raise DecodeError(f"{page.samplesperpixel} channels; expected gray or RGB, with transparency at most")


def _is_ordinary(page: "tifffile.TiffPage") -> bool:
    """Return True if Pillow reads the file correctly."""
    gray = page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    unsigned = page.sampleformat == _UINT
    contiguous = page.planarconfig == _CONTIGUOUS or page.samplesperpixel == 1
    bits = page.bitspersample in ((1, 2, 4, 8) if gray or page.photometric == _PALETTE else (8,))
    # Pillow misinterprets an unspecified fourth channel of RGB, and any second channel of gray images.
    plain = page.samplesperpixel == 1 if gray else page.samplesperpixel <= 4
    return unsigned and contiguous and bits and plain


def _check_segments(page: "tifffile.TiffPage", size: int) -> None:
    """Raise DecodeError if parts of the pixels are missing. tifffile would replace them by zeros."""
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if count <= 0 or offset <= 0 or offset + count > size:
            raise DecodeError("damaged: parts of the pixels are missing")


def _to_image(page: "tifffile.TiffPage") -> DecodedImage:
    """Read the pixels of a page, and convert them to gray or RGB."""
    if page.photometric in (_PALETTE, _CMYK, _YCBCR):
        raise DecodeError("TIFF palette, CMYK or YCbCr pixels with separate planes are not supported. Convert to RGB")
    pixels = page.asarray()
    if pixels.dtype.kind not in "uif" or pixels.dtype.itemsize > 8:
        raise DecodeError(f"pixels of type {pixels.dtype} are not supported")
    if page.samplesperpixel > 1 and page.planarconfig != _CONTIGUOUS:
        pixels = np.moveaxis(pixels, 0, -1)
    pixels = _without_alpha(pixels, page)
    pixels = orient(pixels, int(page.tags.valueof("Orientation", _TOP_LEFT)))
    inverted = page.photometric == _WHITE_IS_ZERO
    if pixels.dtype == np.uint8:
        pixels = 255 - pixels if inverted else pixels
        return DecodedImage(np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels)
    return DecodedImage(pixels, _declared(page, pixels), inverted)


def _without_alpha(pixels: np.ndarray, page: "tifffile.TiffPage") -> np.ndarray:
    """Remove an extra channel without information: one that is opaque everywhere, or 0 everywhere."""
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return pixels
    colors, extra = pixels[..., :-1], pixels[..., -1]
    full = 1 if extra.dtype.kind == "f" else np.iinfo(extra.dtype).max
    if extra.min() != extra.max() or extra.flat[0] not in (0, full):
        kind = "transparency" if page.extrasamples and int(page.extrasamples[0]) else "an extra channel of unknown use"
        raise DecodeError(f"the image has {kind}, so the meaning of its pixels is unknown. Save it as gray or RGB")
    return colors[..., 0] if colors.shape[2] == 1 else colors


def _declared(page: "tifffile.TiffPage", pixels: np.ndarray) -> tuple[float, float] | None:
    """Return the range of values that the file declares, or None.

    The range is from the bits per channel, or from the tag MaxSampleValue if its value is a power of 2 minus 1.
    """
    if pixels.dtype.kind != "u":
        return None
    if page.bitspersample < 8 * pixels.dtype.itemsize:
        return 0.0, float(2**page.bitspersample - 1)
    values = np.atleast_1d(np.asarray(page.tags.valueof("MaxSampleValue", 0), np.float64))
    largest = int(values.max())
    # Some programs store the largest value of the image in this tag, which is not the range.
    is_depth = largest >= 255 and (largest + 1) & largest == 0
    return (0.0, float(largest)) if is_depth and pixels.max() <= largest else None


def orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate and flip an image (h, w, ...) upright. `orientation` is the EXIF value 1 to 8; others mean upright."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
