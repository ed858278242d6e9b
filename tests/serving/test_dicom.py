"""Decoding of DICOM, compared with the formulas of the standard in NumPy."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data.data_manager import DATA_ROOT
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from medtune.serving.decode import decode
from medtune.serving.dicom import read_header
from medtune.serving.pixels import DecodeError

RNG = np.random.default_rng(3)
# get_testdata_files would try to download 79 other files during the collection of tests.
SHIPPED = sorted(path for path in (Path(DATA_ROOT) / "test_files").rglob("*.dcm"))


def write(folder: Path, pixels: np.ndarray, **values: object) -> Path:
    """Write a DICOM file of gray (h, w) or (n, h, w) or color (h, w, 3) pixels; `values` are other elements."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    color = pixels.ndim == 3 and pixels.shape[2] == 3
    dataset.Modality, dataset.PatientID = "OT", "patient 1"
    dataset.SamplesPerPixel = 3 if color else 1
    dataset.PhotometricInterpretation = "RGB" if color else "MONOCHROME2"
    if color:
        dataset.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.Rows, dataset.Columns = pixels.shape[:2] if color or pixels.ndim == 2 else pixels.shape[1:]
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in values.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelData = pixels.tobytes()
    file = folder / f"{generate_uid()}.dcm"
    dataset.save_as(file, enforce_file_format=True)
    return file


def window(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Apply the function LINEAR of DICOM PS3.3, C.11.2.1.2.1, with output 0 to 255."""
    scaled = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    scaled = np.where(values <= center - 0.5 - (width - 1) / 2, 0, scaled)
    return np.rint(np.where(values > center - 0.5 + (width - 1) / 2, 255, scaled)).astype(int)


def raw(dataset: Dataset) -> np.ndarray | None:
    """Read the stored values (h, w) of an uncompressed gray file with one frame, without pydicom's decoders."""
    kinds = {(8, 0): "u1", (8, 1): "i1", (16, 0): "u2", (16, 1): "i2"}
    kind = kinds.get((dataset.get("BitsAllocated"), dataset.get("PixelRepresentation")))
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if syntax is None or syntax.is_compressed or kind is None or dataset.get("SamplesPerPixel") != 1:
        return None
    if "PixelData" not in dataset or int(dataset.get("NumberOfFrames") or 1) > 1:
        return None
    order = "<" if syntax.is_little_endian else ">"
    values = np.frombuffer(dataset.PixelData, order + kind)[: dataset.Rows * dataset.Columns]
    return values.reshape(dataset.Rows, dataset.Columns)


def expected(file: Path) -> np.ndarray | None:
    """Return the expected image, uint8 (h, w), or None if the reference implementation does not support the file."""
    dataset = pydicom.dcmread(file, force=True)
    if (stored := raw(dataset)) is None or dataset.get("VOILUTSequence") or dataset.get("ModalityLUTSequence"):
        return None
    values = stored * float(dataset.get("RescaleSlope") or 1) + float(dataset.get("RescaleIntercept") or 0)
    center, width = dataset.get("WindowCenter"), dataset.get("WindowWidth")
    if center in (None, "") or width in (None, ""):
        return None
    first = (float(v[0]) if isinstance(v, pydicom.multival.MultiValue) else float(v) for v in (center, width))
    scaled = window(values, *first)
    return 255 - scaled if dataset.PhotometricInterpretation == "MONOCHROME1" else scaled


def test_shipped_files__are_correct_or_rejected() -> None:
    """Decode all DICOM files that pydicom installs."""
    outcome: Counter[str] = Counter()
    for file in SHIPPED:
        try:
            result = decode(file)
        except DecodeError as error:
            assert len(str(error)) < 300, file  # noqa: PT017
            outcome["rejected"] += 1
            continue
        outcome["read"] += 1
        reference = expected(file)
        if reference is not None and not result.is_deep:
            outcome["compared"] += 1
            assert np.abs(result.pixels[..., 0].astype(int) - reference).max() <= 1, file
    assert outcome["read"] >= 40, outcome
    assert outcome["compared"] >= 6, outcome


PAIRS = [
    ("MR_small.dcm", "MR_small_RLE.dcm", 0),
    ("MR_small.dcm", "MR_small_jp2klossless.dcm", 0),
    ("MR_small.dcm", "MR_small_bigendian.dcm", 0),
    ("MR_small.dcm", "MR_small_jpeg_ls_lossless.dcm", 0),
    ("SC_rgb_rle.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", 6),
    ("SC_rgb_rle.dcm", "SC_rgb_jls_lossy_line.dcm", 3),
    ("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_jpeg.dcm", 6),
]


@pytest.mark.parametrize(("plain", "compressed", "difference"), PAIRS)
def test_shipped_pairs__compressed_is_the_same_image(plain: str, compressed: str, difference: float) -> None:
    files = {file.name: file for file in SHIPPED}
    if plain not in files or compressed not in files:
        pytest.skip("this version of pydicom does not install the pair")
    first, second = (decode(files[name]).pixels.astype(float) for name in (plain, compressed))
    assert np.abs(first - second).mean() <= difference


def test_gray__window_is_applied_for_both_photometric_interpretations(tmp_path: Path) -> None:
    stored = RNG.integers(0, 4096, (20, 30), np.uint16)
    elements = {
        "BitsStored": 12,
        "WindowCenter": 1000,
        "WindowWidth": 800,
        "RescaleSlope": 2,
        "RescaleIntercept": -1024,
    }
    reference = window(stored * 2.0 - 1024, 1000, 800)
    result = decode(write(tmp_path, stored, **elements))
    assert np.abs(result.pixels[..., 1].astype(int) - reference).max() <= 1
    inverted = decode(write(tmp_path, stored, PhotometricInterpretation="MONOCHROME1", **elements))
    assert np.array_equal(inverted.pixels, 255 - result.pixels)


def test_gray__without_a_window_has_the_stored_values(tmp_path: Path) -> None:
    stored = RNG.integers(0, 4096, (20, 30), np.uint16)
    result = decode(write(tmp_path, stored, BitsStored=12))
    assert np.array_equal(result.pixels, stored)
    assert (result.declared, result.inverted) == ((0.0, 4095.0), False)
    file = write(tmp_path, stored, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    assert decode(file).inverted


def test_gray__hounsfield_units_without_the_window_of_the_file(tmp_path: Path) -> None:
    stored = RNG.integers(-1000, 3000, (20, 30)).astype(np.int16)
    file = write(tmp_path, stored, RescaleSlope=1, RescaleIntercept=-24, WindowCenter=40, WindowWidth=400)
    result = decode(file, apply_voi=False)
    assert np.array_equal(result.pixels, stored - 24.0)
    assert result.declared is None


def test_gray__lookup_table_is_applied(tmp_path: Path) -> None:
    stored = np.arange(256, dtype=np.uint16).reshape(16, 16)
    table = Dataset()
    table.LUTDescriptor = [256, 0, 12]
    table.LUTData = np.linspace(4095, 0, 256).astype("<u2").tobytes()
    result = decode(write(tmp_path, stored, BitsStored=12, VOILUTSequence=Sequence([table])))
    assert np.abs(result.pixels[..., 0].astype(int) - np.arange(255, -1, -1).reshape(16, 16)).max() <= 1


def test_enhanced__frames_have_separate_rescaling_and_windows(tmp_path: Path) -> None:
    stored = RNG.integers(0, 2000, (2, 20, 30), np.uint16)
    frame_groups = []
    for center in (300, 900):
        rescale, voi, frame_group = Dataset(), Dataset(), Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept = 1, -100
        voi.WindowCenter, voi.WindowWidth = center, 400
        frame_group.PixelValueTransformationSequence = Sequence([rescale])
        frame_group.FrameVOILUTSequence = Sequence([voi])
        frame_groups.append(frame_group)
    file = write(tmp_path, stored, PerFrameFunctionalGroupsSequence=Sequence(frame_groups))
    with pytest.raises(DecodeError, match="2 frames in one DICOM file"):
        decode(file)
    for frame, center in enumerate((300, 900)):
        result = decode(file, frame=frame).pixels[..., 0].astype(int)
        assert np.abs(result - window(stored[frame] - 100.0, center, 400)).max() <= 1


def test_color__eight_and_sixteen_bits(tmp_path: Path) -> None:
    small = RNG.integers(0, 256, (20, 30, 3), np.uint8)
    assert np.array_equal(decode(write(tmp_path, small)).pixels, small)
    deep = RNG.integers(0, 4096, (20, 30, 3), np.uint16)
    result = decode(write(tmp_path, deep, BitsStored=12))
    assert np.array_equal(result.pixels, deep)
    assert result.declared == (0.0, 4095.0)


def test_header__has_patient_frames_spacing_and_burned_in_text(tmp_path: Path) -> None:
    overlay = {"PixelSpacing": [0.5, 0.25], "BurnedInAnnotation": "YES"}
    header = read_header(write(tmp_path, RNG.integers(0, 9, (3, 8, 8), np.uint8), **overlay))
    assert (header.patient_id, header.frames, header.spacing_mm) == ("patient 1", 3, (0.5, 0.25))
    assert (header.burned_in, header.overlays) == (True, 0)
    header = read_header(write(tmp_path, RNG.integers(0, 9, (8, 8), np.uint8), PatientID=" "))
    assert (header.patient_id, header.frames, header.spacing_mm, header.burned_in) == (None, 1, None, False)


@pytest.mark.parametrize("length", [200, 400, -50])
def test_truncated__is_rejected(tmp_path: Path, length: int) -> None:
    content = write(tmp_path, RNG.integers(0, 256, (20, 30), np.uint8)).read_bytes()
    with pytest.raises(DecodeError):
        decode(content[:length])


@pytest.mark.parametrize(
    ("syntax", "encode", "difference"),
    [
        (uid.JPEGLosslessSV1, lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=12), 0),
        (uid.JPEGLSLossless, imagecodecs.jpegls_encode, 0),
        (uid.JPEG2000Lossless, lambda pixels: imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="J2K"), 0),
    ],
)
def test_compressed__gray_with_12_bits(tmp_path: Path, syntax: uid.UID, encode: Callable, difference: int) -> None:
    stored = (np.add.outer(np.arange(40), np.arange(60)) * 40).astype(np.uint16)
    file = write(tmp_path, stored, BitsStored=12)
    dataset = pydicom.dcmread(file)
    dataset.PixelData = encapsulate([encode(stored)])
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset["PixelData"].VR = "OB"
    dataset.save_as(file)
    result = decode(file)
    assert np.abs(result.pixels.astype(int) - stored).max() <= difference
    assert result.declared == (0.0, 4095.0)
