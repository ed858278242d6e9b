"""The largest pictures that are still decoded, in the modes that take the most memory."""

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

# A little under medtune.serving.decode.MAX_PIXELS.
SIDE = 7_000
# Bits a sample and PNG's colour type, with the bytes of a row.
KINDS = {
    "rgba": (8, 6, 4 * SIDE),
    "rgba16": (16, 6, 8 * SIDE),
    "grey16": (16, 0, 2 * SIDE),
    "palette": (8, 3, SIDE),
    "cmyk-progressive": (0, 0, 0),
}


def write(path: Path, kind: str) -> None:
    """One of `KINDS` at `path`, written without its pixels in memory, but for the JPEG."""
    if kind == "cmyk-progressive":
        from PIL import Image

        Image.new("CMYK", (SIDE, SIDE), (9, 60, 80, 0)).save(path, "JPEG", progressive=True, subsampling=0)
        return
    bits, colour, width = KINDS[kind]
    body, packed = zlib.compressobj(1), []
    for row in range(SIDE):
        packed.append(body.compress(b"\0" + bytes([row % 2]) * width))
    packed.append(body.flush())
    with path.open("wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n")
        _chunk(out, b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, bits, colour, 0, 0, 0))
        if colour == 3:
            _chunk(out, b"PLTE", bytes(range(6)))
            _chunk(out, b"tRNS", b"\0\x80")
        _chunk(out, b"IDAT", b"".join(packed))
        _chunk(out, b"IEND", b"")


def _chunk(out: BinaryIO, kind: bytes, content: bytes) -> None:
    out.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))
