"""Reading and writing of NIfTI files, compared with nibabel."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.testing import data_path

from medtune.serving.manifest import BundleError
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.nifti import read_grid, read_mask, read_volume, write_label_map
from tests.robustness.profile import examples
from tests.serving.volumes.volume_files import (
    ORIENTATIONS,
    SCANNER,
    TYPES,
    grids,
    make_affine,
    patch,
    reoriented,
    write_nifti,
)

RNG = np.random.default_rng(5)


def integers(shape: tuple[int, ...], dtype: str = "i2") -> np.ndarray:
    return RNG.integers(0, 100, shape).astype(dtype)


@examples(small=40, full=500)
@given(grids(), st.sampled_from(ORIENTATIONS), st.sampled_from([".nii", ".nii.gz"]), st.sampled_from([1, 2]))
def test_read__same_volume_in_each_orientation(tmp_path, grid, orientation, suffix, version):
    shape, affine = grid
    data = integers(shape)
    stored, stored_affine = reoriented(data, affine, orientation)
    volume = read_volume(write_nifti(tmp_path / f"x{suffix}", stored, stored_affine, version))
    assert volume.data.dtype == np.float32
    assert np.array_equal(volume.data, data[None])
    assert volume.affine == pytest.approx(affine, abs=1e-4)
    assert volume.shape == shape
    assert volume.spacing == pytest.approx(np.linalg.norm(affine[:3, :3], axis=0), abs=1e-5)
    assert (volume.grid.orientation, volume.grid.shape) == (orientation, stored.shape)


@examples(small=40, full=500)
@given(grids(), st.sampled_from(ORIENTATIONS), st.sampled_from([".nii", ".nii.gz"]), st.sampled_from([1, 2]))
def test_write__label_map_is_on_the_original_grid(tmp_path, grid, orientation, suffix, version):
    shape, affine = grid
    stored, stored_affine = reoriented(integers(shape, "u1"), affine, orientation)
    source = nib.load(write_nifti(tmp_path / f"x{suffix}", stored, stored_affine, version))
    volume = read_volume(tmp_path / f"x{suffix}")
    write_label_map(tmp_path / f"y{suffix}", volume.data[0].astype(np.uint8), volume.grid)
    written = nib.load(tmp_path / f"y{suffix}")
    assert type(written) is type(source)
    assert np.array_equal(np.asarray(written.dataobj), stored)
    assert written.get_data_dtype() == np.uint8
    for name in ("qform_code", "sform_code", "xyzt_units", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c",
                 "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):  # fmt: skip
        assert np.array_equal(written.header[name], source.header[name]), name
    assert np.array_equal(written.header["pixdim"][:4], source.header["pixdim"][:4])
    assert np.array_equal(written.affine, source.affine)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("order", "<>")
def test_read__each_type_and_byte_order(tmp_path, dtype, order):
    data = integers((3, 4, 5), dtype)
    header_class = nib.Nifti1Header(endianness=order)
    image = nib.Nifti1Image(data, make_affine(), header_class, dtype=data.dtype)
    image.header.set_sform(make_affine(), SCANNER)
    image.to_filename(tmp_path / "x.nii")
    assert image.header.endianness == order
    assert np.array_equal(read_volume(tmp_path / "x.nii").data[0], data)


@pytest.mark.parametrize("dtype", ["i2", "u1", "f4"])
def test_read__scaling_is_applied(tmp_path, dtype):
    data = integers((3, 4, 5), dtype)
    path = patch(write_nifti(tmp_path / "x.nii", data), scl_slope=0.5, scl_inter=-1024.0)
    assert np.array_equal(read_volume(path).data[0], data * 0.5 - 1024)
    patch(path, scl_slope=0.0)  # 0 is not set
    assert np.array_equal(read_volume(path).data[0], data)
    patch(path, scl_slope=float("nan"), scl_inter=float("nan"))
    assert np.array_equal(read_volume(path).data[0], data)


@pytest.mark.parametrize(
    ("name", "channels"),
    [("anatomical.nii", 1), ("standard.nii.gz", 1), ("functional.nii", 20), ("example4d.nii.gz", 2),
     ("example_nifti2.nii.gz", 2)],
)  # fmt: skip
def test_read__files_of_nibabel(name, channels):
    path = Path(data_path) / name
    if not path.is_file():
        pytest.skip("this version of nibabel does not install the file")
    expected = nib.as_closest_canonical(nib.load(path))
    data = expected.get_fdata(dtype=np.float32)
    actual = read_volume(path, channels)
    assert np.array_equal(actual.data, np.moveaxis(data, -1, 0) if data.ndim == 4 else data[None])
    assert actual.affine == pytest.approx(expected.affine, abs=1e-5)


def test_read__large_volume_has_several_slabs(tmp_path: Path) -> None:
    data = np.zeros((600, 600, 60), np.uint8)
    data[..., -1] = 7
    data[3, 5] = np.arange(60)
    assert np.array_equal(read_volume(write_nifti(tmp_path / "x.nii.gz", data)).data[0], data)


def test_read__units_are_converted_to_millimeters(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "x.nii", integers((3, 4, 5)), make_affine((1, 2, 3)))
    for unit, factor in ((0, 1), (1, 1000), (2, 1), (3, 0.001), (8 + 2, 1)):
        volume = read_volume(patch(path, xyzt_units=unit))
        assert volume.spacing == pytest.approx(np.array([1, 2, 3]) * factor)
        write_label_map(tmp_path / "y.nii", np.zeros(volume.shape, np.uint8), volume.grid)
        assert nib.load(tmp_path / "y.nii").header["xyzt_units"] == unit
        assert read_grid(tmp_path / "y.nii").affine == pytest.approx(volume.grid.affine)


def test_read__sform_before_qform(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "x.nii", integers((3, 4, 5)), make_affine((1, 2, 3)))
    patch(path, srow_x=(2.0, 0.0, 0.0, 0.0))
    assert read_volume(path).spacing == pytest.approx([2, 2, 3])
    patch(path, sform_code=0)
    assert read_volume(path).spacing == pytest.approx([1, 2, 3])


def test_read__one_slice(tmp_path: Path) -> None:
    data = integers((6, 7, 1))
    assert np.array_equal(read_volume(write_nifti(tmp_path / "x.nii", data)).data[0], data)
    assert np.array_equal(read_volume(write_nifti(tmp_path / "x.nii", data[..., None])).data[0], data)


def test_read__the_name_does_not_decide_about_compression(tmp_path: Path) -> None:
    data = integers((3, 4, 5))
    write_nifti(tmp_path / "x.nii.gz", data).rename(tmp_path / "a.nii")
    write_nifti(tmp_path / "x.nii", data).rename(tmp_path / "b.nii.gz")
    for name in ("a.nii", "b.nii.gz"):
        assert np.array_equal(read_volume(tmp_path / name).data[0], data)


def test_channels__from_files(tmp_path: Path) -> None:
    first, second = integers((3, 4, 5)), integers((3, 4, 5), "f4")
    flipped, affine = reoriented(second, make_affine(), "LPS")
    paths = [write_nifti(tmp_path / "a.nii", first), write_nifti(tmp_path / "b.nii.gz", flipped, affine)]
    volume = read_volume(paths)
    assert np.array_equal(volume.data, [first, second])
    assert volume.grid.orientation == "RAS"
    with pytest.raises(DecodeError, match=r"a.nii: 2 channels; expected 3"):
        read_volume(paths, channels=3)


def test_channels__from_the_fourth_axis_only_if_requested(tmp_path: Path) -> None:
    data = integers((3, 4, 5, 2))
    path = write_nifti(tmp_path / "x.nii.gz", data)
    assert np.array_equal(read_volume(path, channels=2).data, np.moveaxis(data, -1, 0))
    with pytest.raises(DecodeError, match=r"x.nii.gz: 4 axes \(3 x 4 x 5 x 2\) may be time points"):
        read_volume(path)
    with pytest.raises(DecodeError, match="2 channels; expected 1"):
        read_volume(path, channels=1)
    with pytest.raises(DecodeError, match="may be time points"):
        read_mask(path, range(100))


def test_channels__need_a_file() -> None:
    with pytest.raises(ValueError, match="no files"):
        read_volume([])


def test_channels__of_different_grids_are_refused(tmp_path: Path) -> None:
    data = integers((3, 4, 5))
    first = write_nifti(tmp_path / "a.nii", data)
    moved = write_nifti(tmp_path / "b.nii", data, make_affine(origin=(-10, 20, 5.01)))
    larger = write_nifti(tmp_path / "c.nii", integers((3, 4, 6)))
    with pytest.raises(DecodeError, match=r"b.nii: the affine differs from the affine of a.nii: .* 0.01 mm apart"):
        read_volume([first, moved])
    with pytest.raises(DecodeError, match=r"c.nii: the shape is 3 x 4 x 6, but a.nii has 3 x 4 x 5"):
        read_volume([first, larger])


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (1e300, "NaN or infinite")]
)
def test_values__that_are_not_finite_are_refused(tmp_path, value, message):
    data = integers((3, 4, 5), "f8")
    data[1, 2, 3] = value
    with pytest.raises(DecodeError, match=message):
        read_volume(write_nifti(tmp_path / "x.nii", data))


def test_values__constant_channel_is_refused(tmp_path: Path) -> None:
    data = integers((3, 4, 5, 2))
    data[..., 1] = 3
    with pytest.raises(DecodeError, match=r"x.nii: the volume is constant: each voxel is 3"):
        read_volume(write_nifti(tmp_path / "x.nii", data), channels=2)


def test_write__same_bytes_again(tmp_path: Path) -> None:
    mask = RNG.integers(0, 2, (3, 4, 5), np.uint8)
    grid = read_grid(write_nifti(tmp_path / "x.nii", mask))
    write_label_map(tmp_path / "a.nii.gz", mask, grid)
    content = (tmp_path / "a.nii.gz").read_bytes()
    write_label_map(tmp_path / "a.nii.gz", mask, grid)
    write_label_map(tmp_path / "b.nii.gz", mask, grid)
    assert (tmp_path / "a.nii.gz").read_bytes() == content == (tmp_path / "b.nii.gz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz", "x.nii"]


def test_write__longest_name_of_a_file(tmp_path: Path) -> None:
    grid = read_grid(write_nifti(tmp_path / "x.nii", integers((3, 3, 3), "u1")))
    write_label_map(tmp_path / f"{'a' * 248}.nii.gz", np.ones((3, 3, 3), np.uint8), grid)
    with pytest.raises(BundleError, match=r"cannot be written \(File name too long\)"):
        write_label_map(tmp_path / f"{'a' * 249}.nii.gz", np.ones((3, 3, 3), np.uint8), grid)
    assert len(list(tmp_path.iterdir())) == 2


def test_write__refuses_other_masks_and_names(tmp_path: Path) -> None:
    mask = np.zeros((3, 4, 5), np.uint8)
    grid = read_grid(write_nifti(tmp_path / "x.nii", mask))
    for wrong in (mask.astype(np.int16), mask[1:], mask.transpose()):
        with pytest.raises(ValueError, match=r"expected uint8 \(3, 4, 5\)"):
            write_label_map(tmp_path / "a.nii", wrong, grid)
    with pytest.raises(ValueError, match=r"a.png: expected a name that ends in .nii or .nii.gz"):
        write_label_map(tmp_path / "a.png", mask, grid)
    with pytest.raises(BundleError, match=r"none/a.nii: the folder .*none does not exist. Create it"):
        write_label_map(tmp_path / "none" / "a.nii", mask, grid)
    (tmp_path / "b.nii").mkdir()
    with pytest.raises(BundleError, match="cannot be written"):
        write_label_map(tmp_path / "b.nii", mask, grid)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.nii", "x.nii"]


def test_read__without_nibabel(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "x.nii", integers((3, 4, 5)))
    code = (
        "import sys; sys.modules['nibabel'] = None\n"
        "from pathlib import Path\n"
        "from medtune.serving.volumes.nifti import read_volume\n"
        "read_volume(Path(sys.argv[1]))"
    )
    process = subprocess.run([sys.executable, "-c", code, path], env=os.environ, capture_output=True, text=True)
    assert process.stderr.splitlines()[-1].endswith(
        'x.nii: nibabel is not installed. Run pip install "medtune[volumes]"'
    )


def test_import__is_light() -> None:
    code = (
        "import sys, medtune.serving.volumes.nifti, medtune.serving.volumes.dicom_series\n"
        "print({'scipy', 'torch', 'monai', 'nibabel', 'pydicom', 'onnxruntime'} & set(sys.modules))"
    )
    process = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "set()"
