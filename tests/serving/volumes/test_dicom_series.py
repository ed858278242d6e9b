"""Reading of DICOM series, compared with the volume from which pydicom wrote them."""

import shutil
from pathlib import Path

import imagecodecs
import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread, uid
from pydicom.data.data_manager import DATA_ROOT
from pydicom.encaps import encapsulate
from pydicom.uid import generate_uid

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.dicom_series import read_series, read_series_grid
from medtune.serving.volumes.nifti import read_mask, read_volume, write_label_map
from tests.robustness.profile import examples
from tests.serving.volumes.volume_files import (
    ORIENTATIONS,
    ds,
    grids,
    make_affine,
    patch,
    reoriented,
    write_nifti,
    write_series,
)

RNG = np.random.default_rng(6)
DATA = RNG.integers(-1000, 2000, (5, 4, 6)).astype(np.int16)
AFFINE = make_affine((0.7, 0.9, 2.5))


@examples(small=30, full=300)
@given(grids(), st.sampled_from(ORIENTATIONS))
def test_read__same_volume_as_nifti(tmp_path, grid, orientation):
    shape, affine = grid
    data = RNG.integers(0, 4000, shape).astype(np.int16)
    stored, stored_affine = reoriented(data, affine, orientation)
    shutil.rmtree(tmp_path / "series", ignore_errors=True)
    series = read_series(write_series(tmp_path / "series", stored, stored_affine))
    nifti = read_volume(write_nifti(tmp_path / "x.nii", stored, stored_affine))
    assert np.array_equal(series.data, data[None])
    assert np.array_equal(series.data, nifti.data)
    assert series.affine == pytest.approx(affine, abs=1e-9)
    assert series.affine == pytest.approx(nifti.affine, abs=1e-4)
    series.grid.check_same(nifti.grid, "the NIfTI file")


def test_write__label_map_lies_on_the_series(tmp_path: Path) -> None:
    volume = read_series(write_series(tmp_path / "series", *reoriented(DATA, AFFINE, "LPI")))
    mask = (volume.data[0] > 500).astype(np.uint8)
    write_label_map(tmp_path / "m.nii.gz", mask, volume.grid)
    assert np.array_equal(read_mask(tmp_path / "m.nii.gz", (0, 1), volume.grid), mask)
    written = nib.as_closest_canonical(nib.load(tmp_path / "m.nii.gz"))
    assert written.affine == pytest.approx(AFFINE, abs=1e-4)
    assert np.array_equal(np.asarray(written.dataobj), mask)


def test_read__each_slice_has_its_own_rescaling(tmp_path: Path) -> None:
    def change(index: int, dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = ds(np.array([0.5 * index + 1])), -24, "HU"
        dataset.WindowCenter, dataset.WindowWidth = 40, 400  # not applied

    volume = read_series(write_series(tmp_path, DATA, AFFINE, change))
    assert np.array_equal(volume.data[0], DATA * (0.5 * np.arange(6) + 1) - 24)


def test_read__lookup_table(tmp_path: Path) -> None:
    def change(index: int, dataset: Dataset) -> None:
        table = Dataset()
        table.LUTDescriptor, table.ModalityLUTType = [256, 0, 16], "US"
        table.LUTData = (np.arange(256, dtype="<u2") * 7).tobytes()
        dataset.ModalityLUTSequence = [table]

    data = RNG.integers(0, 256, (5, 4, 6), np.uint8)
    assert np.array_equal(read_series(write_series(tmp_path, data, AFFINE, change)).data[0], data * 7.0)


def test_read__unused_bits_are_ignored(tmp_path: Path) -> None:
    def change(index: int, dataset: Dataset) -> None:
        dataset.BitsStored, dataset.HighBit = 12, 11

    data = RNG.integers(0, 4096, (5, 4, 6), np.uint16)
    series = read_series(write_series(tmp_path, data | 0x8000, AFFINE, change))
    assert np.array_equal(series.data[0], data)


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (uid.JPEGLosslessSV1, lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=16)),
        (uid.JPEGLSLossless, imagecodecs.jpegls_encode),
        (uid.JPEG2000Lossless, lambda pixels: imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="J2K")),
    ],
)
def test_read__compressed_slices(tmp_path, syntax, encode):
    data = (np.add.outer(np.add.outer(np.arange(40), np.arange(30)), np.arange(6)) * 40).astype(np.uint16)

    def change(index: int, dataset: Dataset) -> None:
        dataset.PixelData = encapsulate([encode(np.ascontiguousarray(data[:, :, index].T))])
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset["PixelData"].VR = "OB"

    assert np.array_equal(read_series(write_series(tmp_path, data, AFFINE, change)).data[0], data)


def test_read__run_length_encoded_slices(tmp_path: Path) -> None:
    def change(index: int, dataset: Dataset) -> None:
        dataset.compress(uid.RLELossless, generate_instance_uid=False)

    assert np.array_equal(read_series(write_series(tmp_path, DATA, AFFINE, change)).data[0], DATA)


def test_read__real_slices_of_pydicom(tmp_path: Path) -> None:
    folder = Path(DATA_ROOT) / "test_files" / "dicomdirtests" / "98892001" / "CT5N"
    if not folder.is_dir():
        pytest.skip("this version of pydicom does not install the series")
    datasets = sorted((dcmread(file) for file in folder.iterdir()), key=lambda d: d.ImagePositionPatient[2])
    volume = read_series(folder)
    expected = [d.pixel_array.T * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in datasets]
    # The axial slices are in the order L and P, so that both axes are reversed in RAS.
    assert np.array_equal(volume.data[0], np.stack(expected, -1)[::-1, ::-1])
    assert volume.grid.orientation == "LPS"


def set_in_one(**elements: object):
    """Return a change of the elements of the third slice; None deletes an element."""

    def change(index: int, dataset: Dataset) -> None:
        for keyword, value in elements.items() if index == 3 else ():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return change


REFUSED = [
    ({"SeriesInstanceUID": generate_uid()}, r"two series in one folder: 000.dcm and 021.dcm have different UIDs$"),
    ({"SeriesInstanceUID": None}, "021.dcm: SeriesInstanceUID is missing"),
    (
        {"FrameOfReferenceUID": generate_uid()},
        "FrameOfReferenceUID differs between slices: 000.dcm and 021.dcm have different UIDs$",
    ),
    ({"Modality": "MR"}, "Modality differs between slices: CT in 000.dcm, MR in 021.dcm"),
    ({"RescaleSlope": 2, "RescaleIntercept": 0}, "021.dcm has a RescaleSlope, but 000.dcm has none"),
    ({"RescaleSlope": 2}, "021.dcm: RescaleIntercept is missing"),
    ({"RescaleIntercept": 2}, "021.dcm: RescaleSlope is missing"),
    ({"RescaleSlope": 0, "RescaleIntercept": 0}, "021.dcm: RescaleSlope is 0"),
    ({"RescaleType": "US"}, "RescaleType differs between slices: none in 000.dcm, US in 021.dcm"),
    ({"ImagePositionPatient": None}, "021.dcm: ImagePositionPatient is missing"),
    ({"ImagePositionPatient": [0, 0]}, "021.dcm: ImagePositionPatient is .*; expected finite numbers: 3"),
    ({"ImagePositionPatient": [10, -20, 10]}, "two slices at one position: 014.dcm and 021.dcm"),
    ({"ImagePositionPatient": [10, -20, 100]}, "slices are missing"),
    ({"ImagePositionPatient": [10, -20, 12.8]}, "the slices are unevenly spaced"),
    ({"ImageOrientationPatient": None}, "021.dcm: ImageOrientationPatient is missing"),
    ({"ImageOrientationPatient": [1, 0, 0, 0, 0, 1]}, "slices of different orientations"),
    ({"PixelSpacing": None}, "021.dcm: PixelSpacing is missing"),
    ({"PixelSpacing": [0.9, 0.8]}, "slices of different pixel spacings"),
    ({"PixelSpacing": [0, 0.7]}, "021.dcm: PixelSpacing is 0, 0.7 mm; expected above 0"),
    ({"Rows": 5}, "slices of different sizes: 5 x 4 pixels in 000.dcm, 5 x 5 in 021.dcm"),
    ({"Rows": None}, r"021.dcm: a DICOM file without an image \(CT\)"),
    ({"NumberOfFrames": 3}, "021.dcm: 3 frames in one DICOM file; expected one slice"),
    ({"PhotometricInterpretation": "MONOCHROME1"}, "021.dcm: pixels of kind MONOCHROME1; expected MONOCHROME2"),
    ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "021.dcm: pixels of kind RGB"),
]


@pytest.mark.parametrize(("elements", "message"), REFUSED)
def test_series__is_refused(tmp_path, elements, message):
    folder = write_series(tmp_path / "series", DATA, AFFINE, set_in_one(**elements))
    with pytest.raises(DecodeError, match=f"series: .*{message}") as caught:
        read_series_grid(folder)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(DecodeError, match=message):
        read_series(folder)


@pytest.mark.parametrize("elements", [{"PixelData": b"ab"}, {"PixelData": None}, {"BitsAllocated": 17}])
def test_series__with_damaged_pixels_is_refused(tmp_path, elements):
    folder = write_series(tmp_path / "series", DATA, AFFINE, set_in_one(**elements))
    assert read_series_grid(folder).shape == DATA.shape
    with pytest.raises(DecodeError, match=r"series: 021.dcm: DICOM pixels \(Explicit VR Little Endian\) cannot be"):
        read_series(folder)


def test_series__missing_slice(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", DATA, AFFINE)
    (folder / "021.dcm").unlink()
    with pytest.raises(DecodeError, match=r"slices are missing: 5 mm between 014.dcm and 028.dcm, but 2.5 mm"):
        read_series(folder)


def test_series__same_slice_twice(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", DATA, AFFINE)
    shutil.copy(folder / "021.dcm", folder / "copy.dcm")
    with pytest.raises(DecodeError, match=r"two slices at one position: 021.dcm and copy.dcm"):
        read_series(folder)


def test_series__every_second_slice_is_a_coarser_volume(tmp_path: Path) -> None:
    volume = read_series(write_series(tmp_path, DATA, AFFINE, step=2))
    assert np.array_equal(volume.data[0], DATA[..., ::2])
    assert volume.spacing == pytest.approx([0.7, 0.9, 5])


def test_series__tilted_gantry(tmp_path: Path) -> None:
    affine = AFFINE.copy()
    affine[1, 2] = 0.5
    with pytest.raises(DecodeError, match=r"series: the affine is sheared"):
        read_series(write_series(tmp_path / "series", DATA, affine))


def test_series__constant(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"series: the volume is constant: each voxel is 3"):
        read_series(write_series(tmp_path / "series", np.full((3, 3, 3), 3, np.int16), AFFINE))


def test_mask__of_a_series_must_have_its_grid(tmp_path: Path) -> None:
    grid = read_series_grid(write_series(tmp_path / "series", DATA, AFFINE))
    path = write_nifti(tmp_path / "m.nii", np.ones(DATA.shape, np.uint8), AFFINE)
    assert read_mask(path, (0, 1), grid).all()
    with pytest.raises(DecodeError, match="the affine differs from the affine of the volume"):
        read_mask(patch(path, srow_z=(0.0, 0.0, 2.6, 5.0)), (0, 1), grid)


@examples(small=60, full=2000)
@given(st.data())
def test_damaged__slice_is_refused_or_read(tmp_path, data):
    folder = write_series(tmp_path / "series", DATA, AFFINE)
    content = bytearray((folder / "021.dcm").read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "021.dcm").write_bytes(content)
    try:
        volume = read_series(folder)
    except DecodeError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
    else:  # a changed pixel, or an element that is not used
        assert volume.data.shape == (1, *DATA.shape)
