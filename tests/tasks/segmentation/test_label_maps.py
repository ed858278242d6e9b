"""Names of the label maps of an evaluation."""

import pytest

from medtune.tasks.segmentation.label_maps import file_name


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
