import os

import pytest

from medtune.config.errors import InputError
from medtune.data.listing import find_files, index_hash, require_root
from medtune.data.sample import Sample


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
