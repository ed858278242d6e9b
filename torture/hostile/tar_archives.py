"""Tar archives as a stranger may send them."""

import io
import tarfile
from collections.abc import Callable, Sequence
from functools import cache

from torture.hostile.archive import OUTSIDE, Archive, Draw, good, hostile_name

FORMATS = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)
SUFFIXES = {"": ".tar", "gz": ".tar.gz"}
Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", **pax: str) -> Member:
    """One member; a link's target in `link`."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size, entry.pax_headers = kind, link, len(content), dict(pax)
    return entry, content


def pack(members: Sequence[Member], compression: str = "", form: int = tarfile.PAX_FORMAT) -> bytes:
    """The archive's bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}", format=form) as bundle:  # type: ignore[call-overload]
        for entry, content in members:
            bundle.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def among(
    draw: Draw, bad: Sequence[Member], kind: str, usable: bool | None = False, form: int | None = None
) -> Archive:
    """An archive of good files with `bad` between them."""
    files = good(draw)
    members = [member(name, content) for name, content in files.items()]
    at = int(draw.integers(len(members) + 1))
    compression = str(draw.choice(list(SUFFIXES)))
    chosen = tarfile.PAX_FORMAT if form is None else form
    content = pack([*members[:at], *bad, *members[at:]], compression, chosen)
    return Archive(kind, content, SUFFIXES[compression], usable, None if bad else files)


def _whole(draw: Draw, kind: str) -> Archive:
    return among(draw, [], kind, True, int(draw.choice(FORMATS)))


def _name(draw: Draw, kind: str) -> Archive:
    name = hostile_name(draw)
    form = tarfile.PAX_FORMAT if len(name) > 90 or not name.isascii() else int(draw.choice(FORMATS))
    return among(draw, [member(name, b"bad")], kind, form=form)


def _pax_name(draw: Draw, kind: str) -> Archive:
    return among(draw, [member("fine.png", b"bad", path=hostile_name(draw))], kind)


def _nul(draw: Draw, kind: str) -> Archive:
    return among(draw, [member("fine.png", b"bad", path="fine.png\0/../../../out")], kind)


def _link(kind_of_link: bytes) -> "Make":
    def make(draw: Draw, kind: str) -> Archive:
        target = str(
            draw.choice(["/", "..", "../../..", str(OUTSIDE), "../../../victim/secret.txt", "a/0.png", "/etc/passwd"])
        )
        after = [member("link/out.png", b"bad")] if draw.random() < 0.5 else []
        return among(draw, [member("link", kind=kind_of_link, link=target), *after], kind)

    return make


def _special(draw: Draw, kind: str) -> Archive:
    types = [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
    return among(draw, [member("device", kind=types[draw.integers(3)])], kind, form=int(draw.choice(FORMATS)))


def _sparse(draw: Draw, kind: str) -> Archive:
    """A file of a gigabyte, of which the archive holds a few bytes."""
    headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,3",
               "GNU.sparse.size": str(1 << 30), "GNU.sparse.name": "holes"}  # fmt: skip
    entry, content = member("holes", b"bad")
    entry.pax_headers = headers
    return among(draw, [(entry, content)], kind)


def _bomb(draw: Draw, kind: str) -> Archive:
    return Archive(kind, _zeros(), ".tar.gz", False)


@cache
def _zeros() -> bytes:
    return pack([member("zeros.png", bytes(70 << 20))], "gz")


def _header_bomb(draw: Draw, kind: str) -> Archive:
    """A name of hundreds of megabytes, which is read into memory before anybody has asked for it."""
    types = [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE]
    return Archive(kind, _long(types[draw.integers(4)]), ".tar.gz", False)


@cache
def _long(kind: bytes) -> bytes:
    entry, _ = member("long", kind=kind)
    entry.size = 200 << 20
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as bundle:
        bundle.addfile(entry, _Zeros())  # type: ignore[arg-type]
        bundle.addfile(*_open(member("a.png", b"x")))
    return out.getvalue()


def _twice(draw: Draw, kind: str) -> Archive:
    pairs = [("x", "x"), ("x", "./x"), ("x", "x/y"), ("x/y", "x"), ("x/y", "x//y"), ("x", "x\\y")]
    first, second = pairs[draw.integers(len(pairs))]
    return among(draw, [member(first, b"1"), member(second, b"2")], kind)


def _case(draw: Draw, kind: str) -> Archive:
    return among(draw, [member("x.png", b"1"), member("X.PNG", b"2")], kind, None)


def _bad_size(draw: Draw, kind: str) -> Archive:
    """A size in the header that is negative, or larger than any disk."""
    content = bytearray(pack([member("a.png", b"x" * 700), member("b.png", b"y" * 700)]))
    at = 1536 * int(draw.integers(2)) + 124
    content[at : at + 12] = b"\xff" * 12 if draw.random() < 0.5 else b"\x80" + b"\x7f" * 11
    header = at - 124
    total = sum(content[header : header + 512]) - sum(content[header + 148 : header + 156]) + 8 * 32
    content[header + 148 : header + 156] = b"%06o\0 " % total
    return Archive(kind, bytes(content), ".tar", False)


def _torn(draw: Draw, kind: str) -> Archive:
    """Cut where a member ends, or one header of several damaged: what remains looks like an archive."""
    files = good(draw)
    content = bytearray(pack([member(name, text) for name, text in files.items()], form=tarfile.USTAR_FORMAT))
    starts, at = [], 0
    for text in files.values():
        starts.append(at)
        at += 512 + -(-len(text) // 512) * 512
    start = starts[int(draw.integers(1, len(starts)))]
    if draw.random() < 0.5:
        return Archive(kind, bytes(content[:start]), ".tar", False)
    content[start + int(draw.integers(512))] ^= 1 << int(draw.integers(8))
    return Archive(kind, bytes(content), ".tar", None, files)


def _flipped(draw: Draw, kind: str) -> Archive:
    files = good(draw)
    content = bytearray(pack([member(name, text) for name, text in files.items()], "gz"))
    if draw.random() < 0.3:
        del content[int(draw.integers(len(content))) :]
    for place in draw.integers(0, max(len(content), 1), draw.integers(1, 4)) if content else ():
        content[place] ^= 1 << int(draw.integers(8))
    return Archive(kind, bytes(content), ".tar.gz", None, files)


class _Zeros:
    def read(self, size: int) -> bytes:
        return bytes(size)


def _open(one: Member) -> tuple[tarfile.TarInfo, io.BytesIO]:
    return one[0], io.BytesIO(one[1])


def _many(draw: Draw, kind: str) -> Archive:
    return Archive(kind, pack([member(f"{n}.png") for n in range(1200)], "gz"), ".tar.gz", False)


Make = Callable[[Draw, str], Archive]
KINDS: dict[str, Make] = {
    "tar-whole": _whole,
    "tar-name": _name,
    "tar-pax-name": _pax_name,
    "tar-nul": _nul,
    "tar-symlink": _link(tarfile.SYMTYPE),
    "tar-hard-link": _link(tarfile.LNKTYPE),
    "tar-device": _special,
    "tar-sparse": _sparse,
    "tar-bomb": _bomb,
    "tar-header-bomb": _header_bomb,
    "tar-many": _many,
    "tar-twice": _twice,
    "tar-case": _case,
    "tar-bad-size": _bad_size,
    "tar-torn": _torn,
    "tar-flipped": _flipped,
}
