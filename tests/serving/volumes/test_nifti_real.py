"""Real volumes, compared with nibabel."""

import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.dicom_series import read_series
from medtune.serving.volumes.nifti import read_mask, read_volume, write_label_map
from tests.serving.volumes.volume_files import reoriented, write_nifti, write_series

pytestmark = pytest.mark.real


def test_hippocampus__volumes_and_masks(shared: Path, tmp_path: Path) -> None:
    images = sorted((shared / "hippocampus" / "imagesTr").glob("*.nii.gz"))
    assert len(images) == 56
    for image in images:
        volume = read_volume(image)
        source = nib.load(image)
        assert np.array_equal(volume.data[0], source.get_fdata(dtype=np.float32)), image.name
        assert np.array_equal(volume.affine, source.affine), image.name
        label = shared / "hippocampus" / "labelsTr" / image.name
        mask = read_mask(label, (0, 1, 2), volume.grid)
        write_label_map(tmp_path / "m.nii.gz", mask, volume.grid)
        written, expected = nib.load(tmp_path / "m.nii.gz"), nib.load(label)
        assert np.array_equal(np.asarray(written.dataobj), np.asarray(expected.dataobj)), image.name
        assert np.array_equal(written.affine, source.affine), image.name
        assert written.header.get_qform(coded=True)[1] == source.header.get_qform(coded=True)[1]


def test_hippocampus__mask_of_another_volume_is_refused(shared: Path) -> None:
    folder = shared / "hippocampus"
    grid = read_volume(folder / "imagesTr" / "hippocampus_015.nii.gz").grid
    with pytest.raises(DecodeError, match=r"hippocampus_017.nii.gz: the shape is .*, but the volume has"):
        read_mask(folder / "labelsTr" / "hippocampus_017.nii.gz", (0, 1, 2), grid)
    with pytest.raises(DecodeError, match=r"hippocampus_015.nii.gz: the mask has the labels 2, which are not among"):
        read_mask(folder / "labelsTr" / "hippocampus_015.nii.gz", (0, 1), grid)


def test_mni152__memory_is_the_volume_and_one_slab(shared: Path) -> None:
    tracemalloc.start()
    try:
        volume = read_volume(shared / "mni152" / "mni152_t1.nii.gz")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert volume.data.shape == (1, 197, 233, 189)
    assert volume.data.flags.c_contiguous
    assert peak < volume.data.nbytes + (48 << 20)


@pytest.mark.parametrize("orientation", ["LAS", "LPS", "PIR"])
def test_mni152__same_volume_as_nifti_and_as_series(shared, tmp_path, orientation):
    source = nib.load(shared / "mni152" / "mni152_t1.nii.gz")
    data = np.asarray(source.dataobj)[::4, ::4, ::4]
    affine = source.affine @ np.diag([4, 4, 4, 1])
    stored, stored_affine = reoriented(data, affine, orientation)
    for volume in (
        read_volume(write_nifti(tmp_path / "x.nii.gz", stored, stored_affine)),
        read_series(write_series(tmp_path / "series", stored, stored_affine)),
    ):
        assert np.array_equal(volume.data[0], data)
        assert volume.affine == pytest.approx(affine, abs=1e-4)
