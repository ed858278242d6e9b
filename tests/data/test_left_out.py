import numpy as np
import pytest

from medtune.data.left_out import LeftOut, count_left_out
from medtune.data.sample import Sample
from medtune.data.volume_files import VolumeFiles


@pytest.fixture
def root(tmp_path):
    names = ["a/1.png", "a/2.png", "b/1.png", "b/._1.png", "a/Thumbs.db", "README.md"]
    names += [f"b/{n}{suffix}" for n in range(6) for suffix in (".pdf", ".svg", ".gif")]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_count_left_out__counts_by_folder_and_type(root):
    left_out = count_left_out([Sample(name, "x") for name in ("a/1.png", "a/2.png", "b/1.png")], root, [])
    assert left_out.files == {"": {".md": 1}, "b": {".gif": 6, ".pdf": 6, ".svg": 6}}
    assert left_out.lines() == [
        "left out: 6 .gif, 6 .pdf, 6 .svg in b; 1 .md in data.root itself",
        "system files left out: 1 ._*, 1 Thumbs.db",
    ]
    assert left_out.report()["system_files"] == {"._*": 1, "Thumbs.db": 1}


def test_count_left_out__lists_images_without_a_row(root):
    (root / "labels.csv").touch()
    left_out = count_left_out([Sample("a/1.png", "x")], root, [root / "labels.csv"], "labels.csv")
    assert left_out.images == ("a/2.png", "b/1.png")
    assert "2 images are not listed in labels.csv and are not used, for example a/2.png" in left_out.lines()
    assert ".csv" not in left_out.files.get("", {})
    assert left_out.report()["unused_images"] == {"count": 2, "first": ["a/2.png", "b/1.png"]}


def test_count_left_out__counts_masks_separately(tmp_path):
    for name in ("a/1.png", "a/1_mask.png", "a/2_mask.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert count_left_out([Sample("a/1.png", "x")], tmp_path, []).files == {"a": {".png": 1, ".png masks": 1}}


def test_count_left_out__counts_by_split_and_class_folder(root):
    (root / "train" / "n").mkdir(parents=True)
    (root / "train" / "n" / "x.gif").touch()
    assert count_left_out([], root, [], by_split=True).files["train/n"] == {".gif": 1}


def test_count_left_out__is_empty_for_samples_without_files(root):
    drawn = Sample("x", "a", read=lambda: np.zeros((1, 1, 3), np.uint8))
    assert count_left_out([drawn], root, []) == LeftOut()
    assert count_left_out([], None, []) == LeftOut()


def test_count_left_out__channels_and_masks_of_volumes_are_used(tmp_path):
    for name in ("images/a.nii.gz", "images/b.nii.gz", "masks/a.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    volume = VolumeFiles((tmp_path / "images/a.nii.gz",), tmp_path / "masks/a.nii.gz")
    assert count_left_out([Sample("images/a.nii.gz", "x", volume=volume)], tmp_path, []).files == {
        "images": {".nii.gz": 1}
    }
    assert count_left_out([Sample("a", "x", volume=VolumeFiles(read=tuple))], tmp_path, []) == LeftOut()
