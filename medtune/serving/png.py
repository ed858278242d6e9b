"""PNG files of 16 bits; Pillow keeps 8 of them in color images."""

import struct

import numpy as np

from medtune.serving.pixels import DecodedImage, DecodeError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BIT_DEPTH = 24  # its place in the file


def is_16_bit(content: bytes) -> bool:
    """True for a PNG file of 16 bits a channel."""
    return content.startswith(SIGNATURE) and len(content) > _BIT_DEPTH and content[_BIT_DEPTH] == 16


def read_png(content: bytes) -> DecodedImage:
    """The pixels of a 16-bit PNG file whose checksums have been verified.

    Raises:
        DecodeError: it is partly transparent.
    """
    import imagecodecs

    pixels = imagecodecs.png_decode(content)
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        alpha = pixels[..., -1]
        if alpha.min() != alpha.max() or alpha.flat[0] not in (0, 65535):
            raise DecodeError(
                "the image is partly transparent: the meaning of its pixels is not known. Save gray or RGB"
            )
        pixels = pixels[..., :-1]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return DecodedImage(pixels, _declared(content, pixels))


def _declared(content: bytes, pixels: np.ndarray) -> tuple[float, float] | None:
    """From the chunk sBIT. The standard scales samples to 16 bits; many programs store them as they are."""
    significant = _significant_bits(content)
    if not significant or not 8 <= max(significant) < 16:
        return None
    largest = 2 ** max(significant) - 1
    return (0.0, float(largest)) if pixels.max() <= largest else (0.0, 65535.0)


def _significant_bits(content: bytes) -> bytes:
    """Data of the chunk sBIT, which precedes the pixels; empty if there is none."""
    at = len(SIGNATURE)
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"sBIT":
            return content[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            break
        at += 12 + length
    return b""
