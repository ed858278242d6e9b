"""Image decoding for training, prediction and the HTTP service.

Pillow reads ordinary 8-bit files. The packages tifffile, imagecodecs and pydicom read other files.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from medtune.serving import dicom, png, tiff
from medtune.serving.heap import LARGE_PIXELS, release_heap
from medtune.serving.pixels import DecodedImage, DecodeError

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
LOSSLESS_FORMATS = ("PNG", "TIFF", "BMP")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".tif", ".tiff", ".bmp", ".webp", *DICOM_SUFFIXES)
MAX_PIXELS = 50_000_000  # larger images are rejected
MAX_BYTES = 1 << 29  # larger files are rejected
# Pillow only warns about images of more than 89 million pixels. This filter turns the warning into an error.
warnings.simplefilter("error", Image.DecompressionBombWarning)
# Pillow warns about unusual TIFF metadata, which microscopes often write. Damaged pixels still raise errors.
logging.getLogger("PIL").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")

_ORIENTATION = 0x0112
_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


def decode(
    source: Path | bytes | bytearray | memoryview, apply_voi: bool = True, frame: int | None = None
) -> DecodedImage:
    """Decode an image file.

    8-bit gray images get three equal channels. CMYK and palette images are converted to RGB. Transparent images are
    blended with white. EXIF orientation is applied, and color profiles are ignored. Images of more than 8 bits keep
    their values (see `medtune.serving.intensity`).

    Args:
        source: path of a regular file, or the bytes of a file.
        apply_voi: apply the display window of a DICOM file.
        frame: index of the frame in a DICOM file with several frames, from 0.

    Returns:
        The pixels of the image.

    Raises:
        DecodeError: the file is empty or damaged, has another format than DICOM and `FORMATS`, or is larger than
            `MAX_PIXELS` or `MAX_BYTES`. Or it has several pages, or pixels of unknown meaning.
    """
    content = _content(source)
    with _parser_errors():
        image = _decode(content, apply_voi, frame)
    if image.size[0] * image.size[1] >= LARGE_PIXELS:
        release_heap()
    return image


def decode_labels(source: Path | bytes) -> np.ndarray:
    """Decode a mask. The numbers are returned as stored: gray values, or the indices of a palette.

    Args:
        source: path of a regular file, or the bytes of a file.

    Returns:
        (h, w) booleans or integers. The EXIF orientation is applied.

    Raises:
        DecodeError: the file cannot be decoded, is compressed with loss, or has colors, transparency or fractions.
    """
    content = _content(source)
    with _parser_errors():
        image = _open(content)
        if image.format not in LOSSLESS_FORMATS:
            raise DecodeError(f"{image.format} changes label numbers. Save the mask as PNG from its source")
        if image.mode not in ("1", "L", "P", *_DEEP_MODES):
            raise DecodeError(
                f"colors ({image.mode}), but a mask has one channel of label numbers. Save it as gray or palette PNG"
            )
        values = np.asarray(image)
        if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
            raise DecodeError("a mask must contain integers, but this file has fractions or NaN")
        values = values.astype(np.int64) if values.dtype.kind == "f" else values
        return np.ascontiguousarray(tiff.orient(values, image.getexif().get(_ORIENTATION, 1)))


def orientation(path: Path) -> int:
    """Return the EXIF orientation of an image file, 1 to 8. 1 if it is not stated, or Pillow cannot open the file."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # `decode` reports damaged files
        return 1


def _content(source: Path | bytes | bytearray | memoryview) -> bytes:
    """Return the bytes of a source. Raise DecodeError if it is empty."""
    content = _read(source) if isinstance(source, Path) else bytes(source)
    if not content:
        raise DecodeError("the file is empty")
    return content


@contextmanager
def _parser_errors() -> Iterator[None]:
    """Convert the errors of parsers in the block to DecodeError with a message of one line."""
    try:
        yield
    except DecodeError:
        raise
    except MemoryError:
        raise DecodeError("not enough memory to decode the image") from None
    except Exception as error:  # parsers raise every kind of error on damaged files
        reason = " ".join(str(error).split()).replace(repr(io.BytesIO)[1:-1], "file")[:160]
        raise DecodeError(f"damaged or not an image: {reason or type(error).__name__}") from error


def to_pixels(image: Image.Image | np.ndarray) -> DecodedImage:
    """Convert a Pillow image or an array to decoded pixels. The rules are those of `decode`.

    Args:
        image: a Pillow image, or an array: uint8 or uint16 (h, w) or (h, w, 3), or uint8 (h, w, 4).

    Returns:
        The pixels of the image.

    Raises:
        DecodeError: the array has another type or shape.
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
    if content[:4] in tiff.SIGNATURES and (decoded := tiff.read_tiff(content, MAX_PIXELS)) is not None:
        return decoded
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
    """Open an image with Pillow, and check its size and its number of pages."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise DecodeError(f"damaged, or not one of {', '.join((*FORMATS, 'DICOM'))}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DecodeError(f"more than {MAX_PIXELS:,} pixels") from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DecodeError(f"{width} x {height} pixels; at most {MAX_PIXELS:,} are decoded")
    if image.format != "MPO" and (pages := getattr(image, "n_frames", 1)) > 1:
        raise DecodeError(f"{pages} pages in one file; expected one image")
    if image.format == "PNG":
        image.verify()  # `load` does not verify the checksums in a PNG file
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    image.load()
    return image


def _from_pillow(image: Image.Image) -> DecodedImage:
    """Convert an image to RGB, or keep the values of an image of more than 8 bits."""
    orientation = image.getexif().get(_ORIENTATION, 1)
    if image.mode in _DEEP_MODES:
        return DecodedImage(tiff.orient(np.asarray(image), orientation))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        # Intermediate images have no variables, because each variable would keep up to 200 MB alive.
        image = _on_white(image.convert("RGBA"))
    return DecodedImage(np.ascontiguousarray(tiff.orient(np.array(image.convert("RGB")), orientation)))


def _on_white(image: Image.Image) -> Image.Image:
    """Blend an image with white.

    Returns:
        RGB or RGBA without transparency. If alpha is 0 everywhere, alpha is ignored.

    Raises:
        DecodeError: alpha is 0 everywhere and all pixels have the same color.
    """
    if image.getchannel("A").getextrema() == (0, 0):
        colors = image.convert("RGB")
        if (pixels := np.asarray(colors)).min(axis=(0, 1)).tolist() == pixels.max(axis=(0, 1)).tolist():
            raise DecodeError(
                "the image is fully transparent: alpha is 0 everywhere and all pixels have the same color"
            )
        return colors
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
