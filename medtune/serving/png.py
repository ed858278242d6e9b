"""Decoding of 16-bit PNG files, because Pillow would reduce color images to 8 bits."""

import struct

import numpy as np

from medtune.serving.pixels import DecodedImage, DecodeError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BIT_DEPTH = 24  # position of the byte with the bits per channel


def is_16_bit(content: bytes) -> bool:
    """Return True for a PNG file with 16 bits per channel."""
    return content.startswith(SIGNATURE) and len(content) > _BIT_DEPTH and content[_BIT_DEPTH] == 16


def read_png(content: bytes) -> DecodedImage:
    """Decode a 16-bit PNG file whose checksums are already verified.

    Args:
        content: the bytes of the file.

    Returns:
        The pixels of the image.

    Raises:
        DecodeError: the image is partly transparent.
    """
    import imagecodecs

    pixels = imagecodecs.png_decode(content)
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        alpha = pixels[..., -1]
        if alpha.min() != alpha.max() or alpha.flat[0] not in (0, 65535):
            raise DecodeError(
                "the image is partly transparent, so the meaning of its pixels is unknown. Save it as gray or RGB"
            )
        pixels = pixels[..., :-1]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return DecodedImage(pixels, _declared(content, pixels))


def _declared(content: bytes, pixels: np.ndarray) -> tuple[float, float] | None:
    """Return the range of values that the chunk sBIT (number of significant bits) declares, or None.

    PNG requires values that are scaled to 16 bits, but many programs do not scale them. Both cases are supported.
    """
    significant = _significant_bits(content)
    if not significant or not 8 <= max(significant) < 16:
        return None
    largest = 2 ** max(significant) - 1
    return (0.0, float(largest)) if pixels.max() <= largest else (0.0, 65535.0)


def _significant_bits(content: bytes) -> bytes:
    """Return the data of the chunk sBIT, which precedes the pixels; empty if there is none."""
    position = len(SIGNATURE)
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        if kind == b"sBIT":
            return content[position + 8 : position + 8 + length]
        if kind == b"IDAT":
            break
        position += 12 + length
    return b""
