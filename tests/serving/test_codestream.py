import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from medtune.serving.codestream import image_sizes

IMAGE = np.random.default_rng(0).integers(0, 255, (12, 20), dtype=np.uint8)


def saved(kind):
    stream = io.BytesIO()
    Image.fromarray(IMAGE).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        imagecodecs.jpeg_encode(IMAGE),
        imagecodecs.ljpeg_encode(IMAGE),
        imagecodecs.jpegls_encode(IMAGE),
        imagecodecs.jpeg2k_encode(IMAGE, codecformat="j2k"),
        imagecodecs.jpeg2k_encode(IMAGE, codecformat="jp2"),
        saved("jpeg"),
        saved("jpeg2000"),
    ],
)
def test_image_sizes__is_the_size_in_the_header(content):
    assert image_sizes(content) == {(20, 12)}


def test_image_sizes__skips_fill_bytes_and_segments():
    content = b"\xff\xd8\xff\xff\xff\xe0" + struct.pack(">H", 12) + b"\xff\xc0" * 5
    assert image_sizes(content + imagecodecs.jpeg_encode(IMAGE)[2:]) == {(20, 12)}


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xc0\x00\x11", b"\xff\x4f\xff\x51", b"RLE" * 9]
)
def test_image_sizes__of_an_unknown_or_truncated_image_is_empty(content):
    assert image_sizes(content) == set()
