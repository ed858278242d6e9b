"""Folder with images or volumes in a project folder."""

import pytest

from medtune.cli.data_folder import find_data_folder
from medtune.config.errors import InputError
from medtune.data.sources import nnunet
from tests.cli.init_project import images
from tests.cli.volume_files import folders


def test_find_data_folder__finds_volumes(tmp_path):
    assert find_data_folder(tmp_path / "absent") is None
    assert find_data_folder(tmp_path) is None
    folders(tmp_path / "scans")
    assert find_data_folder(tmp_path) == tmp_path / "scans"


def test_find_data_folder__finds_images(tmp_path):
    images(tmp_path, "data/raw/a/0.png", "other/1.png")
    assert find_data_folder(tmp_path) == tmp_path / "data" / "raw"


@pytest.mark.parametrize("write", [nnunet.example, folders])
def test_find_data_folder__project_folder_with_volumes_is_refused(tmp_path, write):
    write(tmp_path)
    with pytest.raises(InputError, match=f"medtune init NEW-FOLDER --data {tmp_path}"):
        find_data_folder(tmp_path)
