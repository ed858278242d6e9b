import gzip

import pytest

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.upload_files import check_kind, make_series

DICOM = bytes(128) + b"DICM"


def stored(folder, *files):
    paths = []
    for number, (name, content) in enumerate(files):
        (folder / f"upload{number}").write_bytes(content)
        paths.append((name, folder / f"upload{number}"))
    return paths


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (DICOM, "DICOM"),
        (b"PK\3\4".ljust(128) + b"DICM", "DICOM"),
        (b"\x08\x00\x05\x00CS", "DICOM"),
        (b"PK\3\4", "ZIP"),
        (gzip.compress(b"", mtime=0), "NIfTI"),
        ((348).to_bytes(4, "big"), "NIfTI"),
        ((540).to_bytes(4, "little"), "NIfTI"),
    ],
)
def test_check_kind__depends_on_the_content(tmp_path, content, kind):
    assert check_kind(stored(tmp_path, ("a.txt", content))) == kind


def test_check_kind__files_that_cannot_be_used(tmp_path):
    with pytest.raises(DecodeError, match=r"b: expected a NIfTI file, a DICOM file or a ZIP archive"):
        check_kind(stored(tmp_path, ("a", DICOM), ("b", b"\x89PNG")))
    with pytest.raises(DecodeError, match=r"a is DICOM, but b is ZIP"):
        check_kind(stored(tmp_path, ("a", DICOM), ("b", b"PK\3\4")))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1.dcm", "b/1.dcm", "B\\1.DCM", "2-1.dcm"], ["1.dcm", "2-1.dcm", "3-1.DCM", "4-2-1.dcm"]),
        (["", "..", "/", ".hidden", "Thumbs.db"], ["slice_", "2-slice_", "3-slice_", "hidden", "slice_Thumbs.db"]),
        (["../../etc/passwd", "a\0b", "~$x", "é" * 200], ["passwd", "a_b", "__x", "_" * 80]),
    ],
)
def test_make_series__has_every_file_under_a_safe_name(tmp_path, names, expected):
    series = make_series(stored(tmp_path, *((name, DICOM) for name in names)), tmp_path)
    assert sorted(path.name for path in series.iterdir()) == sorted(expected)
