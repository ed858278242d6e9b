import io
import os
import stat
import tarfile
import zipfile
from contextlib import nullcontext

import pytest

from medtune.config.errors import InputError
from medtune.data import archive
from medtune.data.archive import first_member, unpack, unpack_cached


def tar_of(path, *members):
    with tarfile.open(path, "w:gz") as bundle:
        for name, kind, content in members:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            entry.size = len(content) if kind == tarfile.REGTYPE else 0
            entry.linkname = "" if kind == tarfile.REGTYPE else content.decode()
            bundle.addfile(entry, io.BytesIO(content) if kind == tarfile.REGTYPE else None)
    return path


def files_below(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return sorted(path.relative_to(folder).as_posix() for path in files)


def test_unpack__plain_tar_and_zip(tmp_path):
    tar_of(tmp_path / "a.tar.gz", ("x", tarfile.DIRTYPE, b""), ("x/1.png", tarfile.REGTYPE, b"one"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as bundle:
        bundle.writestr("x/1.png", "one")
    for name in ("a.tar.gz", "a.zip"):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        unpack(tmp_path / name, folder)
        assert (folder / "x/1.png").read_bytes() == b"one"


UNSAFE = {
    "parent": ("../out", tarfile.REGTYPE, b"bad"),
    "parent of a subfolder": ("a/../../out", tarfile.REGTYPE, b"bad"),
    "backslashes": ("..\\out", tarfile.REGTYPE, b"bad"),
    "absolute": ("/tmp/medtune-out", tarfile.REGTYPE, b"bad"),
    "drive": ("C:/out", tarfile.REGTYPE, b"bad"),
    "link": ("link", tarfile.SYMTYPE, b"/etc"),
    "hard link": ("link", tarfile.LNKTYPE, b"/etc/passwd"),
    "device": ("zero", tarfile.CHRTYPE, b""),
    "block device": ("disk", tarfile.BLKTYPE, b""),
    "pipe": ("pipe", tarfile.FIFOTYPE, b""),
    "sparse": ("holes", tarfile.GNUTYPE_SPARSE, b""),
}


@pytest.mark.parametrize("member", UNSAFE.values(), ids=UNSAFE.keys())
def test_unpack__unsafe_tar_member_writes_nothing_outside(tmp_path, monkeypatch, member):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    path = tar_of(tmp_path / "bad.tar.gz", ("good.png", tarfile.REGTYPE, b"fine"), member)
    with pytest.raises(InputError, match="Remove it"):
        unpack_cached(path)
    assert files_below(tmp_path) == ["bad.tar.gz"]
    assert not os.path.exists("/tmp/medtune-out")


@pytest.mark.parametrize("name", ["../out", "/out", "a\\..\\..\\out"])
def test_unpack__unsafe_zip_member_is_an_error(tmp_path, monkeypatch, name):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as bundle:
        bundle.writestr(name, "bad")
    with pytest.raises(InputError, match="would be written outside of the folder"):
        unpack_cached(tmp_path / "bad.zip")
    assert files_below(tmp_path) == ["bad.zip"]


def test_unpack__zip_link_is_an_error(tmp_path):
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as bundle:
        bundle.writestr(entry, "/etc")
    with pytest.raises(InputError, match="link"):
        unpack(tmp_path / "bad.zip", tmp_path)


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_unpack__bomb_stops_at_the_limit(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archive, "MAX_SMALL", 1 << 20)
    path = tmp_path / f"bomb.{kind}"
    zeros = bytes(8 << 20)
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr("zeros", zeros)
    else:
        tar_of(path, ("zeros", tarfile.REGTYPE, zeros))
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(InputError, match="bomb"):
        unpack(path, folder)
    assert sum(file.stat().st_size for file in folder.rglob("*")) <= 1 << 20


def test_unpack__member_without_a_name_is_an_error(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as bundle:
        member = zipfile.ZipInfo("x")
        member.filename = ""
        bundle.writestr(member, b"x")
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="a member has no name"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize(("growth", "accepted"), [(18, True), (22, False)])
def test_unpack__accepts_twenty_times_the_archive(tmp_path, monkeypatch, growth, accepted):
    monkeypatch.setattr(archive, "MAX_SMALL", 1)
    path = tmp_path / "grown.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("x", os.urandom(100_000) + bytes((growth - 1) * 100_000))
    (tmp_path / "out").mkdir()
    with nullcontext() if accepted else pytest.raises(InputError, match="archive bomb"):
        unpack(path, tmp_path / "out")


def test_unpack__too_many_files_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILES", 3)
    path = tar_of(tmp_path / "many.tar.gz", *((f"{i}", tarfile.REGTYPE, b"") for i in range(4)))
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="more than 3 files"):
        unpack(path, tmp_path / "out")


def test_unpack__duplicate_member_is_an_error(tmp_path):
    path = tar_of(tmp_path / "twice.tar.gz", ("a", tarfile.REGTYPE, b"1"), ("a", tarfile.REGTYPE, b"2"))
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="duplicate member 'a'"):
        unpack(path, tmp_path / "out")


def test_unpack__truncated_or_flipped_archive_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    good = tar_of(tmp_path / "good.tar.gz", ("a", tarfile.REGTYPE, os.urandom(50_000))).read_bytes()
    flipped = bytearray(good)
    flipped[25_000] ^= 255
    for number, content in enumerate([good[:30_000], bytes(flipped), b"no archive", b""]):
        path = tmp_path / f"bad{number}.tar.gz"
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"damaged or not an archive"):
            unpack_cached(path)
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_unpack_cached__second_call_uses_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    path = tar_of(tmp_path / "good.tar.gz", ("a.png", tarfile.REGTYPE, b"1"))
    first = unpack_cached(path)
    (first / "mark").touch()
    assert unpack_cached(path) == first
    assert (first / "mark").exists()


def test_first_member__unpacks_nothing(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("folder/", "")
        bundle.writestr("folder/a.png", "x")
    assert first_member(archive) == "folder/a.png"
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    (tmp_path / "empty.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    for bad in ("empty.zip", "b.tar"):
        (tmp_path / "b.tar").write_bytes(b"x" * 2000)
        with pytest.raises(InputError):
            first_member(tmp_path / bad)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_unpack__tar_truncated_between_members_is_an_error(tmp_path, damage):
    path = tmp_path / "damaged.tar"
    with tarfile.open(path, "w") as bundle:
        for name in ("a.png", "b.png"):
            entry = tarfile.TarInfo(name)
            entry.size = 3
            bundle.addfile(entry, io.BytesIO(b"one"))
    content = bytearray(path.read_bytes())
    content[1024] ^= 1  # the second member's header
    path.write_bytes(content[:1024] if damage == "truncated" else content)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="it is truncated"):
        unpack(path, tmp_path / "out")


def test_unpack__too_long_name_is_an_error(tmp_path):
    path = tar_of(tmp_path / "long.tar.gz", ("n" * 300, tarfile.REGTYPE, b"x"))
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"nnn'\.\.\. has a name that this file system does not allow"):
        unpack(path, tmp_path / "out")
