"""Names of the label maps of an evaluation."""

import nibabel
import numpy as np
import pytest

from medtune.tasks.segmentation import evaluation
from medtune.tasks.segmentation.label_maps import file_name, write_label_maps


@pytest.mark.parametrize(
    ("path", "name"), [("imagesTr/a_001.nii.gz", "imagesTr-a_001"), ("b 1.NII", "b_1"), ("../c", "..-c"), ("P1", "P1")]
)
def test_file_name__has_no_folder_or_suffix(path, name):
    assert file_name(path) == name


def test_file_name__too_long_for_a_file_system_is_shortened():
    paths = [f"{'a' * 150}/{'ö' * 100}{number}.nii.gz" for number in range(2)]
    first, second = map(file_name, paths)
    assert first != second
    assert all(len(name.encode()) <= 200 and name.startswith("a" * 150 + "-ö") for name in (first, second))


def test_write_label_maps__have_the_affine_of_the_file(tmp_path, prepared, folds):
    pooled = evaluation.pool([folds[0].test, folds[0].test.select(np.array([0]))])
    paths = write_label_maps(tmp_path / "segmentations", prepared, pooled)
    assert [path.name for path in paths[-2:]] == [
        f"{prepared.paths[pooled.rows[-2]]}.nii.gz", f"{prepared.paths[pooled.rows[0]]}-2.nii.gz",
    ]  # fmt: skip
    image = nibabel.load(paths[1])
    assert (np.asarray(image.dataobj) == pooled.maps[1]()).all()
    assert image.get_data_dtype() == np.uint8
    expected = np.array(prepared.volumes.entries[int(pooled.rows[1])].affine)
    assert np.allclose(image.affine, expected, atol=1e-4)
