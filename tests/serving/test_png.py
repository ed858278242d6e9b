"""PNG files with 16 bits, whose values must not change."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from medtune.serving.decode import decode
from medtune.serving.pixels import DecodeError

RNG = np.random.default_rng(1)


def with_chunk(content: bytes, kind: bytes, body: bytes) -> bytes:
    """Insert a chunk after the header of the file."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return content[:33] + chunk + content[33:]


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_png__16_bit_values_of_gray_and_color_are_unchanged(shape: tuple[int, ...]) -> None:
    original = RNG.integers(0, 65536, shape, np.uint16)
    result = decode(imagecodecs.png_encode(original))
    assert np.array_equal(result.pixels, original)
    assert (result.declared, result.inverted) == (None, False)


@pytest.mark.parametrize("channels", [2, 4])
def test_png__only_opaque_or_unused_alpha_is_accepted(channels: int) -> None:
    original = RNG.integers(0, 65536, (20, 30, channels), np.uint16)
    with pytest.raises(DecodeError, match="partly transparent"):
        decode(imagecodecs.png_encode(original))
    for alpha in (0, 65535):
        original[..., -1] = alpha
        reference = original[..., 0] if channels == 2 else original[..., :3]
        assert np.array_equal(decode(imagecodecs.png_encode(original)).pixels, reference)


@pytest.mark.parametrize(("largest", "declared"), [(4095, 4095.0), (4096, 65535.0)])
def test_png__significant_bits_declare_the_range(largest: int, declared: float) -> None:
    original = np.minimum(RNG.integers(0, 4096, (20, 30), np.uint16), largest)
    original[0, 0] = largest
    content = with_chunk(imagecodecs.png_encode(original), b"sBIT", b"\x0c")
    assert decode(content).declared == (0.0, declared)


def test_png__flipped_bit_is_detected() -> None:
    content = bytearray(imagecodecs.png_encode(RNG.integers(0, 65536, (20, 30), np.uint16)))
    content[len(content) // 2] ^= 4
    with pytest.raises(DecodeError, match="damaged"):
        decode(bytes(content))


def test_tiff__16_bit_values_are_unchanged() -> None:
    original = RNG.integers(0, 65536, (20, 30), np.uint16)
    stream = io.BytesIO()
    Image.fromarray(original).save(stream, "TIFF")
    assert np.array_equal(decode(stream.getvalue()).pixels, original)
