import os

import pytest

from medtune.config.errors import InputError
from medtune.data.listing import find_files, listing_digest, require
from medtune.data.sample import Record


def test_find_files__sorted_without_hidden(tmp_path):
    for name in ("b/2.PNG", "a/1.png", ".git/x.png", "__MACOSX/y.png", "a/._1.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_files(tmp_path) == ["a/1.png", "b/2.PNG"]


def test_find_files__linked_folder_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    os.symlink("real", tmp_path / "linked")
    with pytest.raises(InputError, match="linked is a link to a folder"):
        find_files(tmp_path)


def test_require__missing(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist"):
        require(tmp_path / "nowhere")
    with pytest.raises(InputError, match="null"):
        require(None)


def test_listing_digest__changes_with_a_file_or_a_label(tmp_path):
    file = tmp_path / "1.png"
    file.write_bytes(b"one")
    before = listing_digest([Record("1.png", "a")], tmp_path)
    assert listing_digest([Record("1.png", "a")], tmp_path) == before
    assert listing_digest([Record("1.png", "b")], tmp_path) != before
    file.write_bytes(b"three")
    assert listing_digest([Record("1.png", "a")], tmp_path) != before
