"""Sizes and labels of volumes."""

import pytest

from medtune.cli.volume_headers import read_headers, read_labels
from medtune.config.errors import InputError
from medtune.data.volume_files import VolumeFiles
from tests.cli.volume_files import mask, volume


def test_read_labels__counts_masks(tmp_path):
    masks = [mask(tmp_path / "0.nii", 1), mask(tmp_path / "1.nii.gz", 1, 2)]
    assert read_labels(masks) == {1: 2, 2: 1}


@pytest.mark.parametrize(("labels", "message"), [((), "are empty"), ((255,), "labels 255"), ((1, 200), "without gaps")])
def test_read_labels__refuses_labels_without_order(tmp_path, labels, message):
    with pytest.raises(InputError, match=message):
        read_labels([mask(tmp_path / "0.nii", *labels)])


def test_read_labels__damaged_mask_is_named(tmp_path):
    (tmp_path / "0.nii.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(InputError, match=r"0\.nii\.gz"):
        read_labels([tmp_path / "0.nii.gz"])


def test_read_headers__damaged_file_is_counted(tmp_path):
    (tmp_path / "1.nii").write_bytes(b"x" * 400)
    files = [volume(tmp_path / "0.nii", channels=3), tmp_path / "1.nii"]
    headers = read_headers([VolumeFiles((file,)) for file in files])
    assert (headers.shapes, headers.channels, len(headers.bad)) == ([(4, 5, 6)], 3, 1)
    assert "1.nii" in headers.bad[0]
