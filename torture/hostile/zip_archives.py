"""Zip archives as a stranger may send them."""

import io
import stat
import zipfile
from collections.abc import Callable
from functools import cache

from torture.hostile.archive import Archive, Draw, good, hostile_name

Make = Callable[[Draw, str], Archive]


def pack(files: list[tuple[str | zipfile.ZipInfo, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """The archive's bytes; a name may stand there twice."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as bundle:
        for name, content in files:
            bundle.writestr(name, content, compress_type=method)
    return out.getvalue()


def _among(
    draw: Draw, bad: list[tuple[str | zipfile.ZipInfo, bytes]], kind: str, usable: bool | None = False
) -> Archive:
    files = good(draw)
    members: list[tuple[str | zipfile.ZipInfo, bytes]] = [(name, content) for name, content in files.items()]
    at = int(draw.integers(len(members) + 1))
    return Archive(kind, pack([*members[:at], *bad, *members[at:]]), ".zip", usable, None if bad else files)


def _named(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("x")
    entry.filename = name  # as it is: the constructor mends names
    return entry


def _special(draw: Draw, kind: str) -> Archive:
    entry = zipfile.ZipInfo("link")
    kinds = (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)
    entry.external_attr = (kinds[draw.integers(len(kinds))] | 0o777) << 16
    return _among(draw, [(entry, b"../../../victim/secret.txt")], kind)


def _twice(draw: Draw, kind: str) -> Archive:
    pairs = [("x", "x"), ("x", "./x"), ("x", "x/y"), ("x/y", "x"), ("x/y", "x//y"), ("x", "x\\y")]
    first, second = pairs[draw.integers(len(pairs))]
    return _among(draw, [(_named(first), b"1"), (_named(second), b"2")], kind)


def _patched(draw: Draw, kind: str) -> Archive:
    """A whole archive with a field of one entry changed: encrypted, an unknown method, another size, another name."""
    files = good(draw)
    content = bytearray(pack([(name, text) for name, text in files.items()]))
    central = content.index(b"PK\1\2")
    fields = [(8, b"\1\0"), (10, b"\x63\0"), (24, b"\1\0\0\0"), (24, b"\xff\xff\xff\x7f"), (46, b"../")]
    field, value = fields[int(draw.integers(len(fields)))]
    content[central + field : central + field + len(value)] = value
    return Archive(kind, bytes(content), ".zip", None, files)  # a size that is too large harms nobody


def _overlapping(draw: Draw, kind: str) -> Archive:
    """One deflated block that every entry names: it grows with their number."""
    content = pack([("0", bytes(1 << 20))])
    central, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    entry = content[central:end]
    count = 100
    tail = bytearray(content[end:])
    tail[8:12] = count.to_bytes(2, "little") * 2
    tail[12:16] = (len(entry) * count).to_bytes(4, "little")
    return Archive(kind, content[:central] + entry * count + bytes(tail), ".zip", False)


@cache
def _zeros() -> bytes:
    return pack([("zeros.png", bytes(70 << 20))])


def _flipped(draw: Draw, kind: str) -> Archive:
    files = good(draw)
    content = bytearray(pack([(name, text) for name, text in files.items()]))
    if draw.random() < 0.3:
        del content[int(draw.integers(len(content))) :]
    for place in draw.integers(0, len(content), draw.integers(1, 4)) if content else ():
        content[place] ^= 1 << int(draw.integers(8))
    return Archive(kind, bytes(content), ".zip", None, files)


KINDS: dict[str, Make] = {
    "zip-whole": lambda draw, kind: _among(draw, [], kind, True),
    "zip-name": lambda draw, kind: _among(draw, [(_named(hostile_name(draw)), b"bad")], kind),
    "zip-special": _special,
    "zip-bomb": lambda draw, kind: Archive(kind, _zeros(), ".zip", False),
    "zip-many": lambda draw, kind: Archive(kind, pack([(f"{n}.png", b"") for n in range(1200)]), ".zip", False),
    "zip-overlapping": _overlapping,
    "zip-twice": _twice,
    "zip-case": lambda draw, kind: _among(draw, [("x.png", b"1"), ("X.PNG", b"2")], kind, None),
    "zip-patched": _patched,
    "zip-flipped": _flipped,
}
