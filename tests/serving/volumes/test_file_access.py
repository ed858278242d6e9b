"""Files that cannot be opened, and symbolic links."""

import os
from pathlib import Path

import numpy as np
import pytest

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.file_access import file_errors
from medtune.serving.volumes.nifti import read_volume
from tests.serving.volumes.volume_files import write_nifti

DATA = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def test_open__file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"x.nii: the file does not exist$"):
        read_volume(tmp_path / "x.nii")


def test_open__empty_file(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").touch()
    with pytest.raises(DecodeError, match=r"x.nii.gz: the file is empty$"):
        read_volume(tmp_path / "x.nii.gz")


def test_open__folder_and_pipe(tmp_path: Path) -> None:
    (tmp_path / "a.nii").mkdir()
    os.mkfifo(tmp_path / "b.nii")
    for name in ("a.nii", "b.nii"):
        with pytest.raises(DecodeError, match=rf"{name}: not a regular file$"):
            read_volume(tmp_path / name)


def test_open__device(tmp_path: Path) -> None:
    (tmp_path / "x.nii").symlink_to("/dev/zero")
    with pytest.raises(DecodeError, match=r"x.nii: not a regular file$"):
        read_volume(tmp_path / "x.nii")


def test_open__symbolic_links(tmp_path: Path) -> None:
    write_nifti(tmp_path / "x.nii", DATA)
    (tmp_path / "good.nii").symlink_to("x.nii")
    assert np.array_equal(read_volume(tmp_path / "good.nii").data[0], DATA)
    (tmp_path / "dangling.nii").symlink_to("none.nii")
    (tmp_path / "loop.nii").symlink_to("loop.nii")
    for name in ("dangling.nii", "loop.nii"):
        with pytest.raises(DecodeError, match=rf"{name}: a symbolic link to a file that does not exist$"):
            read_volume(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can read every file")
def test_open__without_permission(tmp_path: Path) -> None:
    write_nifti(tmp_path / "x.nii", DATA).chmod(0)
    with pytest.raises(DecodeError, match=r"x.nii: cannot be read: Permission denied$"):
        read_volume(tmp_path / "x.nii")


def test_open__name_that_is_too_long_or_not_unicode(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"\.nii: (cannot be read: File name too long|the file does not exist)$"):
        read_volume(tmp_path / f"{'x' * 300}.nii")
    with pytest.raises(DecodeError, match=r"a\\xff.nii: the file does not exist$"):
        read_volume(tmp_path / os.fsdecode(b"a\xff.nii"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "x.nii: not enough memory to read the volume"),
        (PermissionError(13, "Permission denied"), "x.nii: cannot be read: Permission denied"),
        (DecodeError("a\n\x1b  b"), "x.nii: a b$"),
        (OSError(), "x.nii: cannot be read: OSError"),
    ],
)
def test_file_errors__name_the_file(error, message):
    with pytest.raises(DecodeError, match=message), file_errors(Path("x.nii")):
        raise error
