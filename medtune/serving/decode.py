"""Any image file as pixels, or the reason why not. Training, prediction and the HTTP service all read images here.

Pillow reads ordinary 8-bit files; tifffile, imagecodecs and pydicom read the others.
"""

import io
import logging
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from medtune.serving import dicom, png, tiff
from medtune.serving.pixels import DecodedImage, DecodeError

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".tif", ".tiff", ".bmp", ".webp", *DICOM_SUFFIXES)
MAX_PIXELS = 50_000_000
MAX_BYTES = 1 << 29
# The format is read from the content; Pillow's own guard (89 million pixels) must not be a mere warning either.
warnings.simplefilter("error", Image.DecompressionBombWarning)
# Odd metadata is usual in microscopes' TIFF files, and no reason for a line on the user's screen; what makes an image
# unusable is raised as well.
logging.getLogger("PIL").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")

_ORIENTATION = 0x0112
_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


def decode(
    source: Path | bytes | bytearray | memoryview, apply_voi: bool = True, frame: int | None = None
) -> DecodedImage:
    """The pixels of an image file.

    Gray images of 8 bits become three equal channels, CMYK and palettes become RGB, transparency is laid on white,
    and EXIF orientation is applied. Color profiles are ignored. Images of more than 8 bits keep their values: see
    `medtune.serving.intensity`.

    Args:
        source: a regular file, or a file's bytes.
        apply_voi: apply the display window of a DICOM file.
        frame: frame of a DICOM file of several frames, from 0.

    Raises:
        DecodeError: empty, not DICOM or one of `FORMATS`, damaged or truncated, over `MAX_PIXELS` or `MAX_BYTES`,
            several pages, or pixels without a known meaning.
    """
    content = _read(source) if isinstance(source, Path) else bytes(source)
    if not content:
        raise DecodeError("the file is empty")
    try:
        return _decode(content, apply_voi, frame)
    except DecodeError:
        raise
    except MemoryError:
        raise DecodeError("decoding needs more memory than there is") from None
    except Exception as error:  # parsers raise every kind of error on damaged files
        reason = " ".join(str(error).split()).replace(repr(io.BytesIO)[1:-1], "file")[:160]
        raise DecodeError(f"damaged or not an image: {reason or type(error).__name__}") from error


def to_pixels(image: Image.Image | np.ndarray) -> DecodedImage:
    """An opened image or an array, converted as `decode` does.

    Args:
        image: a Pillow image, or uint8 or uint16 (h, w) or (h, w, 3), or uint8 (h, w, 4).

    Raises:
        DecodeError: an array of another type or shape.
    """
    if isinstance(image, Image.Image):
        return _from_pillow(image)
    gray, color = image.ndim == 2, image.ndim == 3 and image.shape[2] == 3
    if image.size and image.dtype == np.uint16 and (gray or color):
        return DecodedImage(image)
    if image.size and image.dtype == np.uint8 and (gray or color or (image.ndim == 3 and image.shape[2] == 4)):
        return _from_pillow(Image.fromarray(image))
    raise DecodeError(
        f"an array of {image.dtype} {image.shape}: expected uint8 (h, w), (h, w, 3) or (h, w, 4), or uint16 (h, w) "
        "or (h, w, 3)"
    )


def _decode(content: bytes, apply_voi: bool, frame: int | None) -> DecodedImage:
    if dicom.is_dicom(content):
        return dicom.read_dicom(content, MAX_PIXELS, apply_voi, frame)
    if content[:4] in tiff.SIGNATURES and (found := tiff.read_tiff(content, MAX_PIXELS)) is not None:
        return found
    image = _open(content)
    return png.read_png(content) if png.is_16_bit(content) else _from_pillow(image)


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe or a device would block or never end
            raise DecodeError("not a regular file" if path.exists() else "the file does not exist")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise DecodeError(f"{size:,} bytes; at most {MAX_BYTES:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise DecodeError(f"cannot be read: {error.strerror}") from error


def _open(content: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise DecodeError(f"damaged, or not one of {', '.join((*FORMATS, 'DICOM'))}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DecodeError(f"more than {MAX_PIXELS:,} pixels") from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DecodeError(f"{width} x {height} pixels; at most {MAX_PIXELS:,} are decoded")
    if image.format != "MPO" and (pages := getattr(image, "n_frames", 1)) > 1:
        raise DecodeError(f"{pages} pages in one file; expected one image")
    if image.format == "PNG":
        image.verify()  # checksums of every chunk, which loading skips
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    image.load()
    return image


def _from_pillow(image: Image.Image) -> DecodedImage:
    orientation = image.getexif().get(_ORIENTATION, 1)
    if image.mode in _DEEP_MODES:
        return DecodedImage(tiff.orient(np.asarray(image), orientation))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        # Without names for the parts: each would hold 200 MB of the largest picture until the end.
        image = _on_white(image.convert("RGBA"))
    return DecodedImage(np.ascontiguousarray(tiff.orient(np.array(image.convert("RGB")), orientation)))


def _on_white(image: Image.Image) -> Image.Image:
    """Transparency laid on white; an alpha channel of zeros is unused if there is a picture below it.

    Raises:
        DecodeError: nothing can be seen.
    """
    if image.getchannel("A").getextrema() == (0, 0):
        colors = image.convert("RGB")
        if (pixels := np.asarray(colors)).min(axis=(0, 1)).tolist() == pixels.max(axis=(0, 1)).tolist():
            raise DecodeError("the image is fully transparent: alpha is 0 everywhere, and there are no colors below it")
        return colors
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
