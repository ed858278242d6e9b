"""Slices that would need gigabytes of memory, or whose damaged elements contain the patient."""

import struct
import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.dicom_series import read_series, read_series_grid
from tests.serving.volumes.volume_files import make_affine, write_series

DATA = np.random.default_rng(0).integers(0, 255, (16, 12, 3)).astype(np.uint8)


def element(group, number, kind, value):
    length = struct.pack("<HL", 0, len(value)) if kind in ("OB", "UN") else struct.pack("<H", len(value))
    return struct.pack("<HH", group, number) + kind.encode() + length + value


def test_read__deflated_file_after_a_long_element_is_not_decompressed(tmp_path):
    meta = element(2, 1, "OB", bytes(8000)) + element(2, 0x10, "UI", b"1.2.840.10008.1.2.1.99")
    compressor = zlib.compressobj(wbits=-15)
    content = compressor.compress(element(0x10, 0x4000, "UN", bytes(30 << 20))) + compressor.flush()
    length = element(2, 0, "UL", struct.pack("<L", len(meta)))
    (tmp_path / "1.dcm").write_bytes(bytes(128) + b"DICM" + length + meta + content)
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match=r"1.dcm: a deflated DICOM file is not supported"):
            read_series_grid(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("encode", "marker", "syntax"),
    [
        (imagecodecs.jpeg_encode, b"\xff\xc0", JPEGBaseline8Bit),
        (imagecodecs.ljpeg_encode, b"\xff\xc3", JPEGLosslessSV1),
        (imagecodecs.jpegls_encode, b"\xff\xf7", JPEGLSLossless),
    ],
)
def test_read_values__compressed_image_of_another_size_is_not_decoded(tmp_path, encode, marker, syntax):
    def change(index, dataset):
        image = bytearray(encode(np.ascontiguousarray(DATA[:, :, index].T)))
        if index == 1:
            struct.pack_into(">HH", image, image.index(marker) + 5, 65_500, 65_500)
        dataset.PixelData = encapsulate([bytes(image)])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = syntax

    series = write_series(tmp_path / "series", DATA, make_affine(), change)
    with pytest.raises(DecodeError, match=r"the compressed image has 65500 x 65500 pixels; the header states 16 x 12"):
        read_series(series)


def test_read_values__rle_image_of_more_bytes_than_its_pixels_is_not_decoded(tmp_path):
    def change(index, dataset):
        frame = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\x01" * 300  # 300 runs of 128 pixels
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = RLELossless

    series = write_series(tmp_path / "series", DATA, make_affine(), change)
    with pytest.raises(DecodeError, match=r"the compressed image has 664 bytes, but only 192 bytes of pixels"):
        read_series(series)


def test_read__message_about_a_damaged_element_is_short(tmp_path):
    def change(index, dataset):
        dataset.PhotometricInterpretation = "MONOCHROME2 LO Miller^Anna"

    series = write_series(tmp_path / "series", DATA, make_affine(), change)
    with pytest.raises(DecodeError, match=r"pixels of kind MONOCHROME2 LO M; expected MONOCHROME2") as error:
        read_series(series)
    assert "Miller" not in str(error.value)
