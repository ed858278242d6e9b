"""Tar and zip archives that are intact, damaged, unusual or hostile."""

import gzip
import io
import os
import stat
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

# Absolute names point to this path, which must never exist.
OUTSIDE = Path(tempfile.gettempdir()) / f"medtune-outside-{os.getpid()}"
MAX_FILES = 1000  # a lower limit than that of the product, to save time
SUFFIXES = {"tar": [".tar", ".tar.gz"], "zip": [".zip"]}
FORMATS = [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]
HEADER_TYPES = [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE]


@dataclass(frozen=True)
class Archive:
    """An archive to unpack.

    Attributes:
        content: the bytes of the archive.
        suffix: suffix of its name.
        usable: True: it must be unpacked; False: it must be refused; None: either.
        files: the expected files by name; None: any files inside the target folder.
    """

    content: bytes
    suffix: str
    usable: bool | None = False
    files: dict[str, bytes] | None = None


def pack(members, suffix, tar_format=tarfile.PAX_FORMAT):
    """Return an archive of pairs: a name, TarInfo or ZipInfo, and the content."""
    out = io.BytesIO()
    if suffix == ".zip":
        with zipfile.ZipFile(out, "w") as archive:
            for entry, content in members:
                archive.writestr(zip_entry(entry) if isinstance(entry, str) else entry, content, zipfile.ZIP_DEFLATED)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w:gz" if suffix == ".tar.gz" else "w:", format=tar_format) as archive:
        for member, content in members:
            entry = tar_entry(member) if isinstance(member, str) else member
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def tar_entry(name, kind=tarfile.REGTYPE, link="", pax=()):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.pax_headers = kind, link, dict(pax)
    return entry


def zip_entry(name, mode=0):
    entry = zipfile.ZipInfo("x")
    entry.filename, entry.external_attr = name, mode << 16  # the constructor would change the name
    return entry


intact_files = st.lists(st.binary(min_size=1, max_size=3000), min_size=2, max_size=5).map(
    lambda contents: {f"{'ab'[number % 2]}/{number}.png": content for number, content in enumerate(contents)}
)
INTACT_TAR = pack([("a.png", b"x")], ".tar")
NO_MEMBERS = st.just([])


@st.composite
def archives(draw, family, bad_members=NO_MEMBERS, usable=False, formats=FORMATS[:2]):
    """Archives of intact files, with other members at one position."""
    files, bad, suffix = draw(intact_files), draw(bad_members), draw(st.sampled_from(SUFFIXES[family]))
    position = draw(st.integers(0, len(files)))
    members = list(files.items())
    members[position:position] = bad
    return Archive(pack(members, suffix, draw(st.sampled_from(formats))), suffix, usable, None if bad else files)


@st.composite
def unsafe_members(draw):
    """Names that lead out of the target folder or that a file system does not allow."""
    up = "../" * draw(st.integers(1, 5))
    names = [
        f"{up}out.png", f"a/../{up}out.png", f"./{up}out.png", f"a/b/../../{up}out.png", f"{up}victim/secret.txt",
        up.replace("/", "\\") + "out.png", "a\\" + up.replace("/", "\\") * 2 + "out.png", "..", "a/..",
        f"{OUTSIDE}/out.png", f"/{OUTSIDE}/out.png", f"//{OUTSIDE}/out.png", "C:\\out.png", "c:/out.png", "C:out.png",
        "\\\\server\\share\\out.png", "file:///out.png", "a/out.png:stream", "n" * 300, "d/" * 90 + "n" * 300,
        "d/" * 2500 + "out.png", "d/" * 30_000 + "out.png", ("n" * 200 + "/") * 30 + "out.png",
    ]  # fmt: skip
    return [(draw(st.sampled_from(names)), b"bad")]


too_many = st.integers(MAX_FILES + 1, MAX_FILES + 3).map(lambda n: [(f"{number}.png", b"") for number in range(n)])
duplicate_members = st.sampled_from(
    [("x", "x"), ("x", "./x"), ("x", "x/y"), ("x/y", "x"), ("x/y", "x//y"), ("x", "x\\y")]
).map(lambda names: [(name, b"bad") for name in names])


def bomb(size):
    """Return random bytes of this size and zeros. The archive grows 25 times, or to more than 64 MB."""
    return os.urandom(size) + bytes(max(70 << 20, 25 * size))


# The limit on growth applies to archives above 3.4 MB.
bombs = st.sampled_from([3_500_000, 0, 10_000]).map(bomb)


@st.composite
def damaged(draw, content):
    """Copies with one to three flipped bits, some of them truncated."""
    changed = bytearray(content)
    if draw(st.booleans()):
        del changed[draw(st.integers(0, len(content) - 1)) :]
    for bit in draw(st.lists(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=3)):
        if bit < 8 * len(changed):
            changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@st.composite
def damaged_archives(draw, suffix):
    files = draw(intact_files)
    return Archive(draw(damaged(pack(files.items(), suffix))), suffix, None, files)


def common_kinds(family):
    """Return the kinds of archive that exist for both tar and zip."""
    suffix = SUFFIXES[family][-1]
    kinds = {
        "intact": archives(family, usable=True, formats=FORMATS),
        "name": archives(family, unsafe_members()),
        "duplicate": archives(family, duplicate_members),
        "case": archives(family, st.just([("x.png", b"1"), ("X.PNG", b"2")]), usable=None),
        "bomb": bombs.map(lambda content: Archive(pack([("x.png", content)], suffix), suffix)),
        "many": too_many.map(lambda members: Archive(pack(members, suffix), suffix)),
        "damaged": damaged_archives(suffix),
    }
    return {f"{family}-{name}": kind for name, kind in kinds.items()}


@st.composite
def tar_links(draw, kind):
    targets = ["/", "..", "../../..", str(OUTSIDE), "../../../victim/secret.txt", "a/0.png", "/etc/passwd"]
    link = tar_entry("link", kind, draw(st.sampled_from(targets)))
    return [(link, b""), *draw(st.sampled_from([[], [("link/out.png", b"bad")]]))]


def pax_member(headers):
    return [(tar_entry("fine.png", pax=headers), b"bad")]


def sparse_member(size):
    """Return a file of which the archive stores three bytes."""
    headers = {"major": "0", "minor": "1", "map": "0,3", "size": str(size), "name": "holes"}
    return pax_member({f"GNU.sparse.{key}": value for key, value in headers.items()})


def huge_header(kind):
    """Return an archive that starts with a name or a PAX header of 200 MB."""
    entry = tar_entry("long", kind)
    entry.size = 200 << 20
    header = entry.tobuf(tarfile.USTAR_FORMAT) + bytes(entry.size)
    return Archive(gzip.compress(header + INTACT_TAR, 1), ".tar.gz")


@st.composite
def wrong_sizes(draw):
    """Archives with a member of negative size, or of a size beyond any disk."""
    content = bytearray(pack([("a.png", b"x" * 700), ("b.png", b"y" * 700)], ".tar"))
    start = draw(st.sampled_from([0, 1536]))
    content[start + 124 : start + 136] = draw(st.sampled_from([b"\xff" * 12, b"\x80" + b"\x7f" * 11]))
    checksum, _ = tarfile.calc_chksums(bytes(content[start : start + 512]))
    content[start + 148 : start + 156] = b"%06o\0 " % checksum
    return Archive(bytes(content), ".tar")


@st.composite
def torn(draw):
    """Archives that end before a member, or whose header of a later member is damaged."""
    files = draw(intact_files)
    content = bytearray(pack(files.items(), ".tar", tarfile.USTAR_FORMAT))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        start = draw(st.sampled_from([entry.offset for entry in archive][1:]))
    if draw(st.booleans()):
        content[start + draw(st.integers(0, 511))] ^= 1 << draw(st.integers(0, 7))
        return Archive(bytes(content), ".tar", None, files)
    return Archive(bytes(content[:start]), ".tar")


@st.composite
def patched_zips(draw):
    """Archives in which one entry is encrypted, or has an unknown method, another size or another name."""
    files = draw(intact_files)
    content = bytearray(pack(files.items(), ".zip"))
    values = [(8, b"\1\0"), (10, b"\x63\0"), (24, b"\1\0\0\0"), (24, b"\xff\xff\xff\x7f"), (46, b"../")]
    field, value = draw(st.sampled_from(values))
    start = content.index(b"PK\1\2") + field
    content[start : start + len(value)] = value
    return Archive(bytes(content), ".zip", None, files)  # a size that is too large has no effect


def overlapping_zip(count):
    """Return an archive in which all entries share one compressed block."""
    content = pack([("0", bytes(1 << 20))], ".zip")
    central, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    entry, tail = content[central:end], bytearray(content[end:])
    tail[8:12] = count.to_bytes(2, "little") * 2
    tail[12:16] = (len(entry) * count).to_bytes(4, "little")
    return Archive(content[:central] + entry * count + tail, ".zip")


PAX = FORMATS[:1]
DEVICES = st.sampled_from([tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
MODES = st.sampled_from([stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
KINDS = {
    **common_kinds("tar"),
    "tar-pax-name": archives("tar", unsafe_members().map(lambda bad: pax_member({"path": bad[0][0]})), formats=PAX),
    "tar-nul": archives("tar", st.just({"path": "fine.png\0/../../../out"}).map(pax_member), formats=PAX),
    "tar-sparse": archives("tar", st.sampled_from([1 << 12, 1 << 20, 1 << 30]).map(sparse_member), formats=PAX),
    "tar-symlink": archives("tar", tar_links(tarfile.SYMTYPE), formats=FORMATS),
    "tar-hard-link": archives("tar", tar_links(tarfile.LNKTYPE), formats=FORMATS),
    "tar-device": archives("tar", DEVICES.map(lambda kind: [(tar_entry("x", kind), b"")]), formats=FORMATS),
    "tar-wrong-size": wrong_sizes(),
    "tar-torn": torn(),
    "tar-trailing-bomb": bombs.map(lambda content: Archive(gzip.compress(INTACT_TAR + content), ".tar.gz")),
    **common_kinds("zip"),
    "zip-special": archives("zip", MODES.map(lambda mode: [(zip_entry("x", mode), b"../../../victim/secret.txt")])),
    "zip-overlapping": st.just(100).map(overlapping_zip),
    "zip-patched": patched_zips(),
}
