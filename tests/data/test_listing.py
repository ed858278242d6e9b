import os

import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.data.listing import find_files, index_hash, require_root, sample_files
from medtune.data.sample import Sample
from medtune.data.volume_files import DrawnVolume, VolumeFiles


def test_find_files__are_sorted_and_not_hidden(tmp_path):
    for name in ("b/2.PNG", "a/1.png", ".git/x.png", "__MACOSX/y.png", "a/._1.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_files(tmp_path) == ["a/1.png", "b/2.PNG"]


def test_find_files__linked_folder_is_an_error(tmp_path):
    (tmp_path / "real").mkdir()
    os.symlink("real", tmp_path / "linked")
    with pytest.raises(InputError, match="linked is a link to a folder"):
        find_files(tmp_path)


def test_require_root__missing_root_is_an_error(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such path"):
        require_root(tmp_path / "nowhere")
    with pytest.raises(InputError, match="null"):
        require_root(None)


def test_index_hash__changes_with_a_file_or_a_label(tmp_path):
    file = tmp_path / "1.png"
    file.write_bytes(b"one")
    before = index_hash([Sample("1.png", "a")], tmp_path)
    assert index_hash([Sample("1.png", "a")], tmp_path) == before
    assert index_hash([Sample("1.png", "b")], tmp_path) != before
    file.write_bytes(b"three")
    assert index_hash([Sample("1.png", "a")], tmp_path) != before


def test_index_hash__of_images_is_unchanged(tmp_path):
    (tmp_path / "1.png").write_bytes(b"one")
    os.utime(tmp_path / "1.png", ns=(0, 10**18))
    expected = "121edc3ab520822bcb8e476ff2fc0b48228d14b17c5e727d4c45866e1b483330"
    assert index_hash([Sample("1.png", "a", "p", {"age": "7"})], tmp_path) == expected
    assert (
        index_hash([Sample("1", "a", read=bytes)], None)
        == "785ce8efbf555b404b7120b03998b1aad28bbaf727fa9cce4f758925ae20a86c"
    )


@pytest.fixture
def volume(tmp_path):
    """Return a sample with two channels and a mask."""
    files = [tmp_path / name for name in ("t1.nii", "t2.nii", "mask.nii")]
    for file in files:
        file.write_bytes(b"one")
    return Sample("t1.nii", "volume", volume=VolumeFiles(tuple(files[:2]), files[2]))


@pytest.mark.parametrize("name", ["t1.nii", "t2.nii", "mask.nii"])
def test_index_hash__changes_with_each_file_of_a_volume(tmp_path, volume, name):
    before = index_hash([volume], tmp_path)
    assert index_hash([volume], tmp_path) == before
    (tmp_path / name).write_bytes(b"three")
    assert index_hash([volume], tmp_path) != before


def test_index_hash__changes_with_the_spacing_and_the_order_of_channels(tmp_path, volume):
    t1, t2, mask = sample_files(volume, tmp_path)
    variants = [
        volume,
        Sample("t1.nii", "volume", volume=VolumeFiles((t1, t2), mask, (1.0, 1.0, 2.0))),
        Sample("t1.nii", "volume", volume=VolumeFiles((t2, t1), mask)),
        Sample("t1.nii", "volume", volume=VolumeFiles((t1, t2))),
    ]
    assert len({index_hash([sample], tmp_path) for sample in variants}) == len(variants)


def test_sample_files__drawn_samples_have_no_files(tmp_path):
    drawn = VolumeFiles(read=lambda: DrawnVolume(*[np.zeros(1)] * 3))
    for sample in (Sample("P1", "volume", volume=drawn), Sample("P1", "a", read=bytes)):
        assert sample_files(sample, tmp_path) == ()
    assert sample_files(Sample("1.png", "a"), tmp_path) == (tmp_path / "1.png",)
    assert sample_files(Sample("1.png", "a"), None) == ()
