import struct
import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1, RLELossless

from medtune.serving.decode import decode
from medtune.serving.dicom import read_header
from medtune.serving.pixels import DecodeError


def element(group, number, kind, value):
    length = struct.pack("<HL", 0, len(value)) if kind == "UN" else struct.pack("<H", len(value))
    return struct.pack("<HH", group, number) + kind.encode() + length + value


def compressed(path, frame, syntax):
    dataset = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("read", [decode, read_header])
def test_deflated_image__is_not_decompressed(tmp_path, read):
    meta = element(2, 0x10, "UI", b"1.2.840.10008.1.2.1.99")
    compressor = zlib.compressobj(wbits=-15)
    content = compressor.compress(element(0x10, 0x4000, "UN", bytes(30 << 20))) + compressor.flush()
    path = tmp_path / "image.dcm"
    path.write_bytes(bytes(128) + b"DICM" + element(2, 0, "UL", struct.pack("<L", len(meta))) + meta + content)
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="a deflated DICOM file is not supported"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_compressed_image__of_another_size_is_not_decoded(tmp_path):
    frame = bytearray(imagecodecs.ljpeg_encode(np.zeros((64, 64), np.uint16)))
    struct.pack_into(">HH", frame, frame.index(b"\xff\xc3") + 5, 65_500, 65_500)
    with pytest.raises(DecodeError, match="the compressed image has 65500 x 65500 pixels; the header states 64 x 64"):
        decode(compressed(tmp_path / "image.dcm", bytes(frame), JPEGLosslessSV1))


def test_rle_image__of_more_bytes_than_its_pixels_is_not_decoded(tmp_path):
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\x01" * 9_000
    with pytest.raises(DecodeError, match="the compressed image has 18,064 bytes, but only 8,192 bytes of pixels"):
        decode(compressed(tmp_path / "image.dcm", frame, RLELossless))
