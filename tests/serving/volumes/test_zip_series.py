"""Archives that are malicious, damaged or not a series."""

import io
import random
import stat
import struct
import tracemalloc
import zipfile

import pytest

from medtune.serving.pixels import DecodeError
from medtune.serving.request_errors import TooLargeError
from medtune.serving.volumes import zip_series
from medtune.serving.volumes.zip_series import unpack_zip

CONTENT = random.Random(0).randbytes(5000)


def archive(folder, members, compression=zipfile.ZIP_DEFLATED):
    """Write an archive of names, or of ZipInfo objects, and their content."""
    (folder / "out").mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "series.zip", "w", compression) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return folder / "series.zip"


def patched(folder, content, flags=0, method=zipfile.ZIP_DEFLATED):
    """Write an archive of one member with other flags and another method in both of its headers."""
    file = archive(folder, [("a", content)])
    data = bytearray(file.read_bytes())
    for start in (6, data.index(b"PK\1\2") + 8):
        struct.pack_into("<HH", data, start, flags, method)
    file.write_bytes(data)
    return file


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def unpacked(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_unpack__keeps_folders_and_content(tmp_path):
    file = archive(tmp_path, [("a/", b""), ("a/b/1.dcm", CONTENT), ("2", b"x"), ("./c\\3", b"")])
    unpack_zip(file, tmp_path / "out")
    assert unpacked(tmp_path / "out") == {"a/b/1.dcm": CONTENT, "2": b"x", "c/3": b""}


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "..\\a", "C:\\a", "c:a", "\\\\server\\a", "a:stream", "."])
def test_unpack__path_outside_of_the_folder(tmp_path, name):
    with pytest.raises(DecodeError, match="would be written outside of its folder"):
        unpack_zip(archive(tmp_path, [("1.dcm", b"x"), (name, b"x")]), tmp_path / "out")
    assert unpacked(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "has no files"),
        ([("a/", b"")], "has no files"),
        ([(link("a"), b"/etc/passwd")], "a in the ZIP archive is a link"),
        ([("a", b"x"), ("A", b"y")], "two files of the name A"),
        ([("a", b"x"), ("a/b", b"y")], "two files of the name a/b"),
        ([("a/b", b"x"), ("a", b"y")], "two files of the name a"),
        ([("d/" * 20 + "a", b"x")], "in more than 15 folders"),
        ([("n" * 300, b"x")], "is not possible here"),
        *(([("a", start)], "a in the ZIP archive is compressed or an archive") for start in zip_series._ARCHIVES),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_unpack__member_that_is_not_allowed(tmp_path, members, message):
    with pytest.raises(DecodeError, match=message):
        unpack_zip(archive(tmp_path, members), tmp_path / "out")


def test_unpack__dicom_file_may_begin_like_an_archive(tmp_path):
    content = b"PK\3\4".ljust(128) + b"DICM"
    unpack_zip(archive(tmp_path, [("a", content)]), tmp_path / "out")
    assert unpacked(tmp_path / "out") == {"a": content}


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_unpack__encrypted_member(tmp_path, flag):
    with pytest.raises(DecodeError, match="is encrypted"):
        unpack_zip(patched(tmp_path, CONTENT, flag), tmp_path / "out")


@pytest.mark.parametrize("method", [9, 12, 14, 93, 99])
def test_unpack__other_compression(tmp_path, method):
    with pytest.raises(DecodeError, match="is not compressed with deflate"):
        unpack_zip(patched(tmp_path, CONTENT, method=method), tmp_path / "out")


def test_unpack__limits_are_checked_before_anything_is_written(tmp_path, monkeypatch):
    file = archive(tmp_path, [("a", CONTENT), ("b", CONTENT)])
    monkeypatch.setattr(zip_series, "MAX_UNPACKED_BYTES", 9_999)
    with pytest.raises(TooLargeError, match="unpacks to 10,000 bytes; at most 9,999"):
        unpack_zip(file, tmp_path / "out")
    monkeypatch.setattr(zip_series, "MAX_MEMBERS", 1)
    with pytest.raises(TooLargeError, match="has 2 files; at most 1"):
        unpack_zip(file, tmp_path / "out")
    assert unpacked(tmp_path / "out") == {}


def test_unpack__bomb_that_declares_a_small_size(tmp_path):
    data = bytearray(archive(tmp_path, [("a", bytes(50 << 20))]).read_bytes())
    for start in (22, data.index(b"PK\1\2") + 24):
        struct.pack_into("<L", data, start, 1000)
    (tmp_path / "series.zip").write_bytes(data)
    with pytest.raises(DecodeError, match="damaged or not supported: Bad CRC-32"):
        unpack_zip(tmp_path / "series.zip", tmp_path / "out")
    assert sum(map(len, unpacked(tmp_path / "out").values())) <= 1000


def test_unpack__member_without_a_name(tmp_path):
    data = archive(tmp_path, [("a", b"x")]).read_bytes()
    start = data.index(b"PK\1\2")
    central = bytearray(data[start : start + 46])
    struct.pack_into("<H", central, 28, 0)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(central), start, 0)
    (tmp_path / "series.zip").write_bytes(data[:start] + central + end)
    with pytest.raises(DecodeError, match="damaged or not supported"):
        unpack_zip(tmp_path / "series.zip", tmp_path / "out")


def test_unpack__long_list_of_members_is_not_read(tmp_path):
    entry = archive(tmp_path, [("a", b"x")]).read_bytes()
    start = entry.index(b"PK\1\2")
    central = entry[start : start + 47] * 200_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(central), start, 0)
    (tmp_path / "series.zip").write_bytes(entry[:start] + central + end)
    del entry, central
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="the list of its members has 9,400,000 bytes"):
            unpack_zip(tmp_path / "series.zip", tmp_path / "out")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_unpack__every_truncation_and_many_flipped_bits(tmp_path):
    """Each damaged archive is refused in one line, or all of its files are intact."""
    members = [("a/1.dcm", CONTENT[:300]), ("a/2.dcm", bytes(300))]
    content = archive(tmp_path, members).read_bytes()
    variants = [content[:length] for length in range(0, len(content), 7)]
    rng = random.Random(1)
    for _ in range(300):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        variants.append(bytes(flipped))
    reasons = []
    for number, variant in enumerate(variants):
        (out := tmp_path / str(number)).mkdir()
        (tmp_path / "series.zip").write_bytes(variant)
        try:
            unpack_zip(tmp_path / "series.zip", out)
        except (DecodeError, TooLargeError) as error:
            reasons.append(str(error))
        else:
            assert sorted(unpacked(out).values()) == sorted(content for _, content in members)
    assert len(reasons) > len(variants) / 2
    assert all(len(reason.splitlines()) == 1 for reason in reasons)


def test_is_zip__of_the_first_bytes():
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    assert zip_series.is_zip(empty.getvalue())
    assert not zip_series.is_zip(b"PK")
