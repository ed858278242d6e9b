import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtune.serving.decode import decode
from medtune.serving.pixels import DecodeError
from medtune.serving.resize import resize_square

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (30, 40, 3), np.uint8)


def encode(image: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_decode__lossless_formats_are_exact(kind):
    assert np.array_equal(decode(encode(PIXELS, kind)).pixels, PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_decode__lossy_formats_have_the_same_shape(kind):
    result = decode(encode(PIXELS, kind)).pixels
    assert result.shape == PIXELS.shape
    assert result.dtype == np.uint8


def test_decode__gray_has_equal_channels():
    gray = PIXELS[..., 0]
    assert np.array_equal(decode(encode(gray)).pixels, np.repeat(gray[..., None], 3, 2))


def test_decode__bilevel_is_black_and_white():
    result = decode(encode(Image.fromarray(PIXELS[..., 0] > 128))).pixels
    assert set(np.unique(result)) == {0, 255}


def test_decode__16_bit_values_are_unchanged():
    deep = RNG.integers(0, 65536, (30, 40), np.uint16)
    for kind in ("PNG", "TIFF"):
        result = decode(encode(deep, kind))
        assert result.is_deep
        assert np.array_equal(result.pixels, deep)


def test_decode__transparency_is_blended_with_white():
    alpha = np.zeros((30, 40), np.uint8)
    alpha[:, :20] = 255
    result = decode(encode(np.dstack([PIXELS, alpha]))).pixels
    assert np.array_equal(result[:, :20], PIXELS[:, :20])
    assert (result[:, 20:] == 255).all()
    opaque = np.dstack([PIXELS, np.full((30, 40), 255, np.uint8)])
    assert np.array_equal(decode(encode(opaque)).pixels, PIXELS)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_decode__alpha_of_zeros_is_ignored(kind):
    clear = np.zeros((30, 40), np.uint8)
    result = decode(
        encode(np.dstack([PIXELS, clear]), kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    )
    assert np.array_equal(result.pixels, PIXELS)
    with pytest.raises(DecodeError, match="fully transparent"):
        decode(encode(np.dstack([np.full_like(PIXELS, 7), clear])))


def test_decode__palette_with_and_without_transparency():
    palette = Image.fromarray(PIXELS).quantize(16)
    assert np.array_equal(decode(encode(palette)).pixels, np.array(palette.convert("RGB")))
    index = int(np.array(palette)[0, 0])
    assert (decode(encode(palette, transparency=index)).pixels[0, 0] == 255).all()


def test_decode__cmyk_jpeg_is_converted():
    result = decode(encode(Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).convert("CMYK"), "JPEG")).pixels
    assert np.abs(result.astype(int) - 200).max() < 8


def test_decode__exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    result = decode(encode(PIXELS, "PNG", exif=exif)).pixels
    assert np.array_equal(result, np.rot90(PIXELS, -1))


def test_decode__format_depends_on_content_not_extension(tmp_path):
    file = tmp_path / "image.jpg"
    file.write_bytes(encode(PIXELS, "PNG"))
    assert np.array_equal(decode(file).pixels, PIXELS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"no image at all", "not one of"),
        (encode(PIXELS)[:400], "damaged"),
        (encode(PIXELS, "GIF"), "not one of"),
        (bomb(60_000, 60_000), "pixels"),
        (bomb(8_000, 8_000), "pixels"),
        (encode(PIXELS, "TIFF", save_all=True, append_images=[Image.fromarray(PIXELS)]), "2 pages"),
    ],
    ids=["empty", "text", "truncated", "gif", "bomb", "over the limit", "pages"],
)
def test_decode__invalid_files_are_rejected(content, reason):
    with pytest.raises(DecodeError, match=reason):
        decode(content)


def test_decode__flipped_bit_in_png_is_detected():
    content = bytearray(encode(PIXELS))
    content[len(content) // 2] ^= 4
    with pytest.raises(DecodeError, match="damaged"):
        decode(bytes(content))


def test_decode__pipe_missing_file_and_folder_are_rejected(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("pipe.png", "missing.png", "."):
        with pytest.raises(DecodeError):
            decode(tmp_path / name)
    with pytest.raises(DecodeError, match="regular"):
        decode(Path("/dev/zero"))


@pytest.mark.parametrize("resize", ["squash", "pad", "crop"])
@pytest.mark.parametrize("shape", [(460, 700), (700, 460), (1, 300), (16, 16), (3, 3)])
def test_resize_square__accepts_any_shape(resize, shape):
    result = resize_square(RNG.integers(0, 256, (*shape, 3), np.uint8), 16, resize)
    assert result.shape == (16, 16, 3)
    assert result.dtype == np.uint8


def test_resize_square__same_size_is_unchanged():
    image = PIXELS[:30, :30].copy()
    for resize in ("squash", "pad", "crop"):
        assert resize_square(image, 30, resize) is image


def test_resize_square__crop_selects_the_center_and_pad_includes_the_image():
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 255
    assert (resize_square(image, 10, "crop") > 200).all()
    padded = resize_square(image, 30, "pad")
    assert np.array_equal(padded[10:20], image)
    assert np.array_equal(padded[0], image[0])
