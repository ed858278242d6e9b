"""Names of the label maps of an evaluation."""

import pytest

from medtune.tasks.segmentation.label_maps import file_name


@pytest.mark.parametrize(
    ("path", "name"), [("imagesTr/a_001.nii.gz", "imagesTr-a_001"), ("b 1.NII", "b_1"), ("../c", "..-c"), ("P1", "P1")]
)
def test_file_name__has_no_folder_or_suffix(path, name):
    assert file_name(path) == name
