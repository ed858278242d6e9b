"""Pictures as a stranger's disk holds them: damaged, odd, hostile, renamed, linked."""

import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

from torture.hostile.picture import SUFFIX, Draw, Make, Picture, encode, pixels

# Kinds in which nothing but the whole picture may come through: PNG carries checksums, and a part of a file is none.
EXACT = ("flipped-png", "truncated")


def picture(number: int) -> Picture:
    """Picture `number`: its kind by turns, everything else drawn from it as a seed."""
    kinds = list(KINDS)
    kind = kinds[number % len(kinds)]
    return KINDS[kind](np.random.default_rng([4, number]), kind)


def _whole(draw: Draw, kind: str) -> Picture:
    form = str(draw.choice(list(SUFFIX)))
    return Picture(kind, encode(pixels(draw), form), SUFFIX[form], True)


def _truncated(draw: Draw, kind: str) -> Picture:
    form = str(draw.choice(list(SUFFIX)))
    whole = encode(pixels(draw), form)
    return Picture(kind, whole[: draw.integers(1, len(whole))], SUFFIX[form], None, whole)


def _flipped(form: str) -> Make:
    def make(draw: Draw, kind: str) -> Picture:
        whole = encode(pixels(draw), form)
        content = bytearray(whole)
        for place in draw.integers(0, len(content), draw.integers(1, 6)):
            content[place] ^= 1 << int(draw.integers(8))
        return Picture(kind, bytes(content), SUFFIX[form], None, whole)

    return make


def _renamed(draw: Draw, kind: str) -> Picture:
    form, other = draw.permutation(list(SUFFIX))[:2]
    return Picture(kind, encode(pixels(draw), str(form)), SUFFIX[str(other)], True)


def _bytes(*contents: bytes) -> Make:
    return lambda draw, kind: Picture(kind, contents[draw.integers(len(contents))], _suffix(draw), False)


def _noise(draw: Draw, kind: str) -> Picture:
    magic = (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0", b"BM", b"RIFF\x40\0\0\0WEBPVP8 ")
    return Picture(
        kind, magic[draw.integers(len(magic))] + draw.bytes(int(draw.integers(1, 4000))), _suffix(draw), None
    )


def _suffix(draw: Draw) -> str:
    return str(draw.choice(list(SUFFIX.values())))


def _mode(mode: str, *forms: str) -> Make:
    def make(draw: Draw, kind: str) -> Picture:
        form = str(draw.choice(forms))
        return Picture(kind, encode(Image.fromarray(pixels(draw)).convert(mode), form), SUFFIX[form], True)

    return make


def _deep(draw: Draw, kind: str) -> Picture:
    form = str(draw.choice(["PNG", "TIFF"]))
    return Picture(kind, encode(pixels(draw, 1)[..., 0].astype(np.uint16) * 257, form), SUFFIX[form], True)


def _unranged(draw: Draw, kind: str) -> Picture:
    grey = pixels(draw, 1)[..., 0]
    image = grey.astype(np.float32) if draw.random() < 0.5 else grey.astype(np.int32) - 70_000
    return Picture(kind, encode(image, "TIFF"), ".tif", False)


def _alpha(draw: Draw, kind: str) -> Picture:
    form = str(draw.choice(["PNG", "WEBP", "TIFF"]))
    return Picture(kind, encode(pixels(draw, 4), form), SUFFIX[form], True)


def _palette(draw: Draw, kind: str) -> Picture:
    options = {"transparency": int(draw.integers(16))} if draw.random() < 0.5 else {}
    image = Image.fromarray(pixels(draw)).quantize(16)
    return Picture(kind, encode(image, "PNG", **options), ".png", True)


def png_header(width: int, height: int, body: bytes = bytes(999)) -> bytes:
    """A PNG that says it is so large, over `body`, which is deflated."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def _bomb(draw: Draw, kind: str) -> Picture:
    sides = ((60_000, 60_000), (8_000, 8_000), (2**31 - 1, 2**31 - 1), (50_000_001, 1), (2**31 - 1, 1))
    return Picture(kind, png_header(*sides[draw.integers(len(sides))]), ".png", False)


def _huge_header(draw: Draw, kind: str) -> Picture:
    """A small picture whose header says that it is as large as the format can say."""
    drawn = pixels(draw)
    height, width = drawn.shape[:2]
    if draw.random() < 0.5:
        whole = encode(drawn, "JPEG")
        at = whole.index(b"\xff\xc0") + 5
        return Picture(kind, whole[:at] + b"\xff\xdc\xff\xdc" + whole[at + 4 :], ".jpg", False)
    content = bytearray(encode(drawn, "BMP"))
    content[18:26] = struct.pack("<ii", width * 100_000, height * 100_000)
    return Picture(kind, bytes(content), ".bmp", False)


def _several(draw: Draw, kind: str) -> Picture:
    form = str(draw.choice(["TIFF", "PNG", "WEBP", "GIF"]))
    one = Image.fromarray(pixels(draw))
    frames = [Image.fromarray(255 - np.array(one))]
    return Picture(kind, encode(one, form, save_all=True, append_images=frames), SUFFIX.get(form, ".png"), False)


def _turned(draw: Draw, kind: str) -> Picture:
    exif = Image.Exif()
    exif[0x0112] = int(draw.integers(0, 12))
    form = str(draw.choice(["PNG", "JPEG", "TIFF", "WEBP"]))
    return Picture(kind, encode(pixels(draw), form, exif=exif), SUFFIX[form], True)


@cache
def _deflated_zeros() -> bytes:
    return zlib.compress(bytes(80 << 20), 9)


def _text_bomb(draw: Draw, kind: str) -> Picture:
    whole = encode(pixels(draw))
    body = b"Comment\0\0" + _deflated_zeros()
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    return Picture(kind, whole[:33] + chunk + whole[33:], ".png", None)


def _link(target: str, usable: bool) -> Make:
    return lambda draw, kind: Picture(kind, target.encode(), _suffix(draw), usable, link=True)


# Of a link the target is seen from a class folder; `self` is replaced by whoever writes it.
KINDS: dict[str, Make] = {
    "whole": _whole,
    "truncated": _truncated,
    **{f"flipped-{form.lower()}": _flipped(form) for form in SUFFIX},
    "wrong-extension": _renamed,
    "zero-byte": _bytes(b""),
    "text": _bytes(b"not an image at all\n" * 40, b"<html><body>404</body></html>", b"%PDF-1.7\n", b"PK\3\4" * 99),
    "noise": _noise,
    "cmyk": _mode("CMYK", "JPEG", "TIFF"),
    "grey-alpha": _mode("LA", "PNG", "TIFF"),
    "one-bit": _mode("1", "PNG", "TIFF", "BMP"),
    "16-bit": _deep,
    "unranged": _unranged,
    "alpha": _alpha,
    "palette": _palette,
    "bomb": _bomb,
    "huge-header": _huge_header,
    "several-pages": _several,
    "exif-turned": _turned,
    "text-bomb": _text_bomb,
    "link-inside": _link("../a/anchor.png", True),
    "link-outside": _link("../../outside.png", False),
    "link-device": _link("/dev/zero", False),
    "link-dangling": _link("../a/gone.png", False),
    "link-loop": _link("self", False),
    "pipe": lambda draw, kind: Picture(kind, None, _suffix(draw), False),
}
