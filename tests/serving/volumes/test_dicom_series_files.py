"""Files in the folder of a DICOM series: slices with any name, and files that cannot be read."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom.data.data_manager import DATA_ROOT

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.dicom_series import read_series, read_series_grid
from tests.serving.volumes.volume_files import make_affine, write_series

DATA = np.random.default_rng(6).integers(-1000, 2000, (5, 4, 6)).astype(np.int16)
AFFINE = make_affine((0.7, 0.9, 2.5))


def test_find__suffixes_subfolders_and_other_files(tmp_path: Path) -> None:
    write_series(tmp_path / "series", DATA, AFFINE)
    for number, file in enumerate(sorted((tmp_path / "series").iterdir())):
        target = [f"IM{number:04d}", f"1.2.840.{number}", f"deep/{number}.IMA", f"{number}.bin"][number % 4]
        (tmp_path / "x" / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / "x" / target)
    (tmp_path / "x" / "notes.txt").write_text("text")
    (tmp_path / "x" / ".hidden").write_text("text")
    index = Path(DATA_ROOT) / "test_files" / "dicomdirtests" / "DICOMDIR"
    if index.is_file():
        shutil.copy(index, tmp_path / "x" / "DICOMDIR")
    assert np.array_equal(read_series(tmp_path / "x").data[0], DATA)


@pytest.mark.parametrize("name", ["7.dcm", "IM0007", "1.2.840.7"])
@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 200])
def test_find__damaged_slice_is_not_left_out(tmp_path, name, content):
    (write_series(tmp_path / "series", DATA, AFFINE) / name).write_bytes(content)
    with pytest.raises(DecodeError, match=rf"series: {name}: damaged or not a DICOM file"):
        read_series_grid(tmp_path / "series")


def test_find__file_that_is_too_large(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", DATA, AFFINE)
    with (folder / "021.dcm").open("r+b") as stream:
        stream.truncate(1 << 40)  # without using space on the disk
    with pytest.raises(DecodeError, match=r"series: 021.dcm: 1,099,511,627,776 bytes; at most 536,870,912 are read"):
        read_series(folder)


def test_find__deflated_file(tmp_path: Path) -> None:
    file = Path(DATA_ROOT) / "test_files" / "image_dfl.dcm"
    if not file.is_file():
        pytest.skip("this version of pydicom does not install the file")
    shutil.copy(file, tmp_path)
    with pytest.raises(DecodeError, match=r"image_dfl.dcm: a deflated DICOM file is not supported"):
        read_series(tmp_path)


def test_find__folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"none: the folder does not exist"):
        read_series(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(DecodeError, match=r"file: not a folder"):
        read_series(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DecodeError, match=r"empty: no DICOM slices in this folder"):
        read_series(tmp_path / "empty")
    (write_series(tmp_path / "series", DATA, AFFINE) / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(DecodeError, match=r"series: link is a symbolic link to a folder, which is not followed"):
        read_series(tmp_path / "series")


def test_find__link_to_a_slice(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", DATA, AFFINE)
    (folder / "021.dcm").rename(tmp_path / "slice")
    (folder / "021.dcm").symlink_to(tmp_path / "slice")
    assert np.array_equal(read_series(folder).data[0], DATA)
    (tmp_path / "slice").unlink()
    with pytest.raises(DecodeError, match=r"series: 021.dcm is a symbolic link to a file that does not exist"):
        read_series(folder)
    (folder / "021.dcm").unlink()
    (folder / "021.dcm").symlink_to(folder / "021.dcm")
    with pytest.raises(DecodeError, match=r"series: 021.dcm is a symbolic link to a file that does not exist"):
        read_series(folder)
