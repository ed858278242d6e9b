import os

import pytest

from medtune.serving.folder_scan import count_types, file_type, format_counts, printable, scan_folder


def test_scan_folder__lists_every_file_once(tmp_path):
    for name in ("a/1.png", "a/._1.png", "a/Thumbs.db", "a/x.PDF", "b/2.JPG", "b/desktop.ini", "b/noext", ".git/x.png",
                 "~$x.xlsx",
                 "__MACOSX/a/._1.png", ".DS_Store", "a/.ipynb_checkpoints/1.png"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.symlink(tmp_path / "a", tmp_path / "linked")
    content = scan_folder(tmp_path)
    assert content.images == ("a/1.png", "b/2.JPG")
    assert content.others == ("a/x.PDF", "b/noext")
    assert content.system == (".DS_Store", ".git/", "__MACOSX/", "a/._1.png", "a/.ipynb_checkpoints/", "a/Thumbs.db",
                              "b/desktop.ini", "~$x.xlsx")  # fmt: skip
    assert content.links == ("linked",)


def test_scan_folder__missing_folder_is_an_error(tmp_path):
    with pytest.raises(OSError, match="absent"):
        scan_folder(tmp_path / "absent")


@pytest.mark.parametrize(
    ("path", "kind"),
    [("a/x.PDF", ".pdf"), ("x.nii.gz", ".nii.gz"), ("a.b/x", "without extension"), ("a/._x.png", "._*"),
     ("a/.DS_Store", ".DS_Store"), ("~$labels.xlsx", "~$*"),
     ("Thumbs.db", "Thumbs.db"), ("a/__MACOSX/", "__MACOSX/"), ("x.v1.gif", ".gif")],
)  # fmt: skip
def test_file_type__is_the_extension_or_the_system_pattern(path, kind):
    assert file_type(path) == kind


def test_format_counts__is_sorted_by_frequency():
    assert format_counts(count_types(["b.gif", "a.pdf", "c.gif"])) == "2 .gif, 1 .pdf"


def test_printable__escapes_only_invalid_utf8():
    assert printable("Bild \u00fc.png") == "Bild \u00fc.png"
    assert printable("k\udcf6rper.png") == "k\\xf6rper.png"
