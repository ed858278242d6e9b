"""Any image file as 8-bit RGB, or the reason why not. Pillow and numpy only: shared with handoff.

What a consumer of the bundle feeds the network is made here, exactly as the training images were.
"""

import io
import logging
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
MAX_PIXELS = 50_000_000
MAX_BYTES = 1 << 29
# The format is read from the content; Pillow's own guard (89 million pixels) must not be a mere warning either.
warnings.simplefilter("error", Image.DecompressionBombWarning)
# Odd metadata is usual in microscopes' TIFF files, and no reason for a line on the user's screen; what makes an image
# unusable is raised as well.
logging.getLogger("PIL").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class DecodeError(Exception):
    """An image that cannot be used; the message is the reason, without the file's name."""


def decode(source: Path | bytes | bytearray | memoryview) -> np.ndarray:
    """The image as uint8 (h, w, 3).

    Grey becomes three equal channels, CMYK and palettes become RGB, transparency is laid on white, of 16 bits the
    high byte is kept, and EXIF orientation is applied. Colour profiles are ignored.

    Args:
        source: a regular file, or a file's bytes.

    Raises:
        DecodeError: empty, not one of `FORMATS`, damaged or truncated, over `MAX_PIXELS` or `MAX_BYTES`, several
            pages, or pixels without a defined range.
    """
    content = _read(source) if isinstance(source, Path) else bytes(source)
    if not content:
        raise DecodeError("the file is empty")
    try:
        return _to_rgb(_open(content))
    except DecodeError:
        raise
    except MemoryError:
        raise DecodeError("decoding needs more memory than there is") from None
    except Exception as error:  # Pillow's parsers raise every kind of error on damaged files
        reason = " ".join(str(error).split()).replace(repr(io.BytesIO)[1:-1], "file")[:160]
        raise DecodeError(f"damaged or not an image: {reason or type(error).__name__}") from error


def to_pixels(image: Image.Image | np.ndarray) -> np.ndarray:
    """Return an opened image or an array of pixels as uint8 (h, w, 3), converted as `decode` does.

    Args:
        image: a Pillow image, or uint8 (h, w), (h, w, 3) or (h, w, 4), or uint16 (h, w).

    Raises:
        DecodeError: an array of another type or shape, or pixels without a defined range.
    """
    if isinstance(image, Image.Image):
        return _to_rgb(image)
    grey, color = image.ndim == 2, image.ndim == 3 and image.shape[2] in (3, 4)
    if not image.size or not ((image.dtype == np.uint8 and (grey or color)) or (image.dtype == np.uint16 and grey)):
        raise DecodeError(f"an array of {image.dtype} {image.shape}: expected uint8 (h, w), (h, w, 3) or (h, w, 4)")
    return _to_rgb(Image.fromarray(image))


def resize_square(image: np.ndarray, size: int, resize: Literal["squash", "pad", "crop"]) -> np.ndarray:
    """The image at `size` x `size`, uint8 (size, size, 3); the same array where it already has that size.

    Bicubic with antialiasing. `squash` changes the aspect ratio; `pad` keeps all of the image and repeats its edge
    pixels; `crop` keeps the middle square.

    Args:
        image: uint8 (h, w, 3).
        size: side in pixels.
        resize: how a picture that is not square is made so.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    picture = Image.fromarray(image)
    if resize == "squash":
        return np.array(picture.resize((size, size), Image.Resampling.BICUBIC))
    if resize == "crop":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        return np.array(picture.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side)))
    scale = size / max(height, width)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.array(picture.resize(inner, Image.Resampling.BICUBIC))
    down, right = size - small.shape[0], size - small.shape[1]
    return np.pad(small, ((down // 2, down - down // 2), (right // 2, right - right // 2), (0, 0)), mode="edge")


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
        raise DecodeError(f"damaged, or not one of {', '.join(FORMATS)}") from None
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


def _to_rgb(image: Image.Image) -> np.ndarray:
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode == "F":
        raise DecodeError("floating-point pixels have no defined range: store 8 or 16 bits")
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise DecodeError("32-bit pixels outside 0 to 65535: store 8 or 16 bits")
        return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        # Without names for the parts: each would hold 200 MB of the largest picture until the end.
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    image = image.convert("RGB")
    return np.array(image)
