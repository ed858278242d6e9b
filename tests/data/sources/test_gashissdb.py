import numpy as np
import pytest
from PIL import Image

from medtune.config.errors import InputError
from medtune.data.sources import gashissdb, hcrf


def write(root, folder, size, count=2, suffix=".png"):
    for name in ("Abnormal", "Normal"):
        for number in range(1, count + 1):
            file = root / folder / name / f"{name}-{number:05d}{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((size, size, 3), np.uint8)).save(file)


def read(root, **options):
    return gashissdb.list_samples(root, gashissdb.Params(root=str(root), **options))


@pytest.mark.parametrize("name", ["{0}", "{0}x{0}", "GasHisSDB/{0}", "GasHisSDB/{0}*{0}"])
@pytest.mark.parametrize("size", [80, 120, 160])
def test_samples__are_selected_by_size(tmp_path, name, size):
    for side in (80, 120, 160):
        write(tmp_path, name.format(side), side)
    samples = read(tmp_path, size=size)
    assert [sample.label for sample in samples] == ["abnormal", "abnormal", "normal", "normal"]
    assert all(name.format(size) in sample.path for sample in samples)
    assert {sample.patient_id for sample in samples} == {None}
    with pytest.raises(InputError, match=r"data\.source=gashissdb"):
        hcrf.list_samples(tmp_path, hcrf.Params(root="x"))


def test_samples__root_is_a_folder_of_one_size(tmp_path):
    write(tmp_path, "120", 120)
    assert len(read(tmp_path / "120", size=120)) == 4
    with pytest.raises(InputError, match=r"data\.size=160: .* 120 pixels only\. Use data\.size=120\."):
        read(tmp_path / "120")


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_samples__mixed_sizes_are_an_error(tmp_path, suffix):
    write(tmp_path, "all", 160)
    write(tmp_path, "more", 80, suffix=suffix)
    with pytest.raises(InputError, match=r"4 of 8 images have another size; .* has 80 x 80 pixels"):
        read(tmp_path)


def test_samples__patient_is_matched_in_the_path(tmp_path):
    for image in (1, 2):
        write(tmp_path, f"160/image-{image}", 160)
    assert {sample.patient_id for sample in read(tmp_path, patient_pattern=r"image-(\d+)/")} == {"1", "2"}
    with pytest.raises(InputError, match="finds nothing in"):
        read(tmp_path, patient_pattern="slide")
    with pytest.raises(ValueError, match="not a regular expression"):
        gashissdb.Params(patient_pattern="(")


def test_samples__folder_without_images_is_an_error(tmp_path):
    (tmp_path / "160" / "other").mkdir(parents=True)
    with pytest.raises(InputError, match="no image in a folder called Normal or Abnormal"):
        read(tmp_path)


def test_hcrf__rejects_crops_without_size_folders(tmp_path):
    write(tmp_path, "a", 160)
    with pytest.raises(InputError, match="looks like GasHisSDB"):
        hcrf.list_samples(tmp_path, hcrf.Params(root="x"))


def test_expected__adds_up_to_the_published_set():
    assert sum(sum(gashissdb.expected(gashissdb.Params(size=size)).values()) for size in gashissdb.SIZES) == 245_196
