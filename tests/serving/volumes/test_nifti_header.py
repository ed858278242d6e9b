"""Headers that are refused, each with one line that names the file."""

from pathlib import Path

import numpy as np
import pytest

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.nifti import read_grid, read_volume
from tests.serving.volumes.volume_files import make_affine, patch, read_content, write_nifti

DATA = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
NAN, INFINITY = float("nan"), float("inf")
REFUSED = [
    ({"dim": (2, 12, 5, 1, 1)}, r"2 axes \(12 x 5\); expected a volume of 3 axes"),
    ({"dim": (1, 60, 1, 1, 1)}, "1 axes"),
    ({"dim": (5, 3, 4, 5, 1, 1)}, r"5 axes \(3 x 4 x 5 x 1 x 1\)"),
    ({"dim": (0, 3, 4, 5, 1)}, "0 axes"),
    ({"dim": (99, 3, 4, 5, 1)}, "99 axes;"),
    ({"dim": (3, 3, 0, 5)}, "the shape is 3 x 0 x 5; each size must be positive"),
    ({"dim": (3, 3, -4, 5)}, "the shape is 3 x -4 x 5; each size must be positive"),
    ({"dim": (4, 3, 4, 5, 0)}, "each size must be positive"),
    ({"dim": (3, 2048, 1024, 1025)}, "2048 x 1024 x 1025 voxels; at most 2,147,483,648 are read"),
    ({"dim": (4, 1024, 1024, 1024, 3)}, "1024 x 1024 x 1024 x 3 voxels; at most"),
    ({"datatype": 32}, "voxels of complex64 are not supported"),
    ({"datatype": 1792}, "voxels of complex128 are not supported"),
    ({"datatype": 128}, "voxels of RGB are not supported"),
    ({"datatype": 2304}, "voxels of RGBA are not supported"),
    ({"datatype": 1536}, "voxels of float128 are not supported"),
    ({"datatype": 1}, "voxels of binary are not supported"),
    ({"datatype": 0}, "voxels of unknown type 0"),
    ({"pixdim": (1.0, 1.0, 0.0, 1.0)}, "the spacing is 1, 0, 1; expected positive numbers"),
    ({"pixdim": (1.0, 1.0, -2.0, 1.0)}, "the spacing is 1, -2, 1; expected positive numbers"),
    ({"pixdim": (1.0, 1.0, NAN, 1.0)}, "the spacing is 1, nan, 1"),
    ({"pixdim": (1.0, INFINITY, 1.0, 1.0)}, "the spacing is inf, 1, 1"),
    ({"qform_code": 0, "sform_code": 0}, "the position in space is unknown: qform_code and sform_code are 0"),
    ({"sform_code": 6}, "damaged: qform_code 1 and sform_code 6 must be from 0 to 5"),
    ({"qform_code": -1}, "damaged: qform_code -1 and sform_code 1 must be from 0 to 5"),
    ({"srow_x": (0.0, 0.0, 0.0, 0.0)}, "the affine is singular: the spacing is 0, 1, 1 mm"),
    ({"srow_x": (0.0, 1.0, 0.0, 0.0), "srow_z": (1.0, 0.0, 0.0, 0.0), "qform_code": 0}, "singular"),
    ({"srow_x": (1.0, 0.2, 0.0, 0.0)}, "the affine is sheared: two axes meet at 78.69 degrees"),
    ({"srow_x": (NAN, 0.0, 0.0, 0.0)}, "not a 4 x 4 matrix of finite numbers"),
    ({"srow_x": (1.0, 0.0, 0.0, INFINITY)}, "not a 4 x 4 matrix of finite numbers"),
    ({"srow_x": (-1.0, 0.0, 0.0, 0.0)}, "the qform and the sform are mirror images of each other"),
    ({"quatern_b": (0.9, 0.9, 0.9), "sform_code": 0}, "the qform is not a rotation"),
    ({"quatern_b": (NAN, 0.0, 0.0), "sform_code": 0}, "not a 4 x 4 matrix of finite numbers"),
    ({"xyzt_units": 5}, "the unit of length has the unknown code 5"),
    ({"vox_offset": 100.0}, "damaged: the voxels start at byte 100"),
    ({"vox_offset": 352.5}, r"damaged: the voxels start at byte 352.5"),
    ({"vox_offset": 1e9}, r"damaged: the voxels start at byte 1e\+09"),
    ({"vox_offset": NAN}, "damaged: the voxels start at byte nan"),
    ({"scl_slope": INFINITY}, "scl_slope inf and scl_inter .* must be finite"),
    ({"scl_slope": 2.0, "scl_inter": NAN}, "scl_slope 2 and scl_inter nan must be finite"),
    ({"magic": tuple(b"ni1\0")}, "the voxels are in a separate .img file"),
    ({"magic": (0, 0, 0, 0)}, "an Analyze header has no orientation"),
]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_header__is_refused(tmp_path, fields, message, suffix):
    path = patch(write_nifti(tmp_path / f"x{suffix}", DATA), **fields)
    with pytest.raises(DecodeError, match=rf"x{suffix}: .*{message}") as caught:
        read_grid(path)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(DecodeError, match=message):
        read_volume(path, channels=3 if "1024 x 3" in message else None)


@pytest.mark.parametrize(
    "content",
    [b"\0", b"\0" * 4000, b"\x89PNG\r\n\x1a\n" + b"\0" * 4000, b"%PDF-1.7" * 100, b"NRRD0004\ntype: short\n" * 99],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_header__of_another_format(tmp_path, content, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=rf"x{suffix}: not a NIfTI file"):
        read_volume(path)


def test_header__pair_of_files(tmp_path: Path) -> None:
    import nibabel as nib

    nib.Nifti1Pair(DATA, make_affine()).to_filename(tmp_path / "x.hdr")
    with pytest.raises(DecodeError, match=r"x.hdr: the voxels are in a separate .img file"):
        read_volume(tmp_path / "x.hdr")
    with pytest.raises(DecodeError, match=r"x.img: not a NIfTI file"):
        read_volume(tmp_path / "x.img")


@pytest.mark.parametrize("length", [1, 3, 4, 100, 347, 351])
def test_header__truncated(tmp_path, length):
    path = write_nifti(tmp_path / "x.nii", DATA)
    path.write_bytes(read_content(path)[:length])
    with pytest.raises(DecodeError, match=r"truncated|not a NIfTI file"):
        read_volume(path)


def test_header__extension_is_skipped(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "x.nii", DATA)
    content = read_content(path)
    path.write_bytes(content[:352] + b"\x20\0\0\0\x06\0\0\0" + b"a" * 24 + content[352:])
    assert np.array_equal(read_volume(patch(path, vox_offset=384.0)).data[0], DATA)


def test_header__offset_zero_is_not_set(tmp_path: Path) -> None:
    path = patch(write_nifti(tmp_path / "x.nii", DATA), vox_offset=0.0)
    assert np.array_equal(read_volume(path).data[0], DATA)


def test_header__handedness_zero_counts_as_one(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "x.nii", DATA, make_affine((1, 2, 3)))
    patch(path, pixdim=(0.0, 1.0, 2.0, 3.0), sform_code=0)
    grid = read_grid(path)
    assert grid.affine == pytest.approx(make_affine((1, 2, 3)))
    assert grid.space.pixdim == (1, 1, 2, 3)
