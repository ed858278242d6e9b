"""Size of a compressed image according to its own header, before memory for its pixels is allocated.

Supports JPEG, lossless JPEG and JPEG-LS (frame header SOF) and JPEG 2000 (segment SIZ).
"""

import struct

_SOI, _J2K, _JP2 = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP"
# Frame headers, without the other markers in their range (Huffman tables, extensions, arithmetic coding).
_SOF = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_MARKER = 0xFF


def image_sizes(content: bytes) -> set[tuple[int, int]]:
    """Return the sizes that a compressed image states.

    Args:
        content: the compressed image.

    Returns:
        (width, height) of each image. Empty if the format is unknown or the header is damaged.
    """
    try:
        if content.startswith(_SOI):
            return {_jpeg_size(content)}
        if content.startswith(_J2K):
            return {_j2k_size(content, 0)}
        if content.startswith(_JP2):  # a container, in which the image may be anywhere
            return {_j2k_size(content, start) for start in _find_all(content, _J2K)}
    except (struct.error, IndexError):
        pass
    return set()


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Return the size in the first frame header."""
    start = len(_SOI)
    while True:
        while content[start + 1] == _MARKER:  # fill bytes
            start += 1
        marker, start = content[start + 1], start + 2
        if marker in _SOF:
            height, width = struct.unpack_from(">HH", content, start + 3)
            return width, height
        if marker not in _ALONE:
            start += struct.unpack_from(">H", content, start)[0]


def _j2k_size(content: bytes, start: int) -> tuple[int, int]:
    right, bottom, left, top = struct.unpack_from(">4L", content, start + 8)
    return right - left, bottom - top


def _find_all(content: bytes, part: bytes) -> list[int]:
    found, start = [], content.find(part)
    while start >= 0:
        found.append(start)
        start = content.find(part, start + 1)
    return found
