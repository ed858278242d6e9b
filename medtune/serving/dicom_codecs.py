"""Decoder plugin for pydicom that decompresses DICOM pixels with the package imagecodecs.

For most color images, pydicom uses its plugin for Pillow. Two other plugins are unsuitable: gdcm crashes the process on
some damaged files, and libjpeg has a copyleft license.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.pixels.decoders import base

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

_DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {
    uid.JPEGBaseline8Bit: imagecodecs.jpeg_decode,
    uid.JPEGExtended12Bit: imagecodecs.jpeg_decode,
    uid.JPEGLossless: imagecodecs.jpeg_decode,
    uid.JPEGLosslessSV1: imagecodecs.jpeg_decode,
    uid.JPEGLSLossless: imagecodecs.jpegls_decode,
    uid.JPEGLSNearLossless: imagecodecs.jpegls_decode,
    uid.JPEG2000Lossless: imagecodecs.jpeg2k_decode,
    uid.JPEG2000: imagecodecs.jpeg2k_decode,
    uid.HTJ2KLossless: imagecodecs.jpeg2k_decode,
    uid.HTJ2K: imagecodecs.jpeg2k_decode,
}
# The plugin interface of pydicom prescribes this name, and the signatures of the next two functions.
DECODER_DEPENDENCIES = dict.fromkeys(_DECODERS, ("imagecodecs",))


def is_available(syntax: str) -> bool:
    """Return True if the plugin decodes this transfer syntax (the compression of the pixels)."""
    return syntax in _DECODERS


def decode_frame(content: bytes, runner: "DecodeRunner") -> bytes:
    """Decompress a gray frame, or an RGB frame in JPEG-LS, a format that does not transform colors.

    Args:
        content: the compressed frame.
        runner: pydicom's description of the frame.

    Returns:
        The raw pixels.

    Raises:
        NotImplementedError: the frame has colors in another format.
        ValueError: the size of the frame differs from the header.
    """
    shape: tuple[int, ...] = (runner.rows, runner.columns)
    if runner.samples_per_pixel != 1:
        jpeg_ls = runner.transfer_syntax in (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
        if not jpeg_ls or runner.photometric_interpretation != "RGB":
            raise NotImplementedError("color is decoded by Pillow")
        runner.set_option("planar_configuration", 0)
        shape += (runner.samples_per_pixel,)
    pixels = _DECODERS[runner.transfer_syntax](content)
    if pixels.shape != shape:
        raise ValueError(f"the frame has shape {pixels.shape}; the header says {shape}")
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    return pixels.tobytes()


def register() -> None:
    """Register the plugin with pydicom. Further calls have no effect."""
    for decoder in (getattr(base, name) for name in dir(base) if name.endswith("Decoder")):
        known = isinstance(decoder, base.Decoder) and is_available(decoder.UID)
        if known and "imagecodecs" not in decoder.available_plugins:
            decoder.add_plugin("imagecodecs", (__name__, decode_frame.__name__))
