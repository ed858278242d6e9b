import numpy as np
from PIL import Image

from medtune.data.contact_sheet import write_contact_sheet, write_sample_files


def test_write_contact_sheet__has_one_row_per_class(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (15, 20, 20, 3), np.uint8)
    write_contact_sheet(tmp_path / "samples.png", images, np.array([0] * 14 + [1]), ["Größe", "b"])
    with Image.open(tmp_path / "samples.png") as sheet:
        assert sheet.size == (1024, 288)


def test_write_sample_files__have_the_packed_pixels(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (15, 20, 20, 3), np.uint8)
    labels = np.array([0] * 14 + [1])
    write_sample_files(tmp_path / "out", images, labels, ["a/b", "c"], np.array([2, 3, 14]))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a_b-2.png", "a_b-3.png", "c-14.png"]
    with Image.open(tmp_path / "out" / "c-14.png") as image:
        assert np.array_equal(np.asarray(image), images[14])


def test_write_contact_sheet__limits_the_number_of_classes(tmp_path):
    images = np.zeros((2100, 8, 8, 3), np.uint8)
    labels = np.concatenate([np.arange(1000), np.arange(1000), np.full(100, 7)])
    names = [f"class {k}" for k in range(1000)]
    write_contact_sheet(tmp_path / "samples.png", images, labels, names)
    with Image.open(tmp_path / "samples.png") as sheet:
        assert sheet.size == (1024, 30 * 144 + 16)
    write_sample_files(tmp_path / "out", images, labels, names, np.arange(2100))
    files = [path.name for path in (tmp_path / "out").iterdir()]
    assert len(files) <= 120
    assert "class_7-7.png" in files
