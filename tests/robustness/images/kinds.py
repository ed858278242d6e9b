"""Image files that are intact, damaged, unusual, hostile, renamed or links."""

import io
import os
import struct
import zlib
from dataclasses import dataclass
from functools import cache

import imagecodecs
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

SUFFIX = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "BMP": ".bmp", "WEBP": ".webp"}
FORMATS, SUFFIXES = list(SUFFIX), list(SUFFIX.values())
ANCHOR = "a/anchor.png"  # target of a link
LARGE = ["rgba.png", "rgba16.png", "gray16.png", "palette.png", "cmyk.jpg"]
SIDE = 7_000  # slightly fewer pixels than medtune.serving.decode.MAX_PIXELS


@dataclass(frozen=True)
class ImageFile:
    """A file of a class folder.

    Attributes:
        content: the bytes of the file; None: a link, a pipe or a large image.
        suffix: suffix of its name.
        usable: True: the data stage must keep it; False: it must reject it; None: either.
        original: the undamaged file, if a kept image must have its pixels.
    """

    content: bytes | None
    suffix: str
    usable: bool | None
    original: bytes | None = None


def encode(image, image_format="PNG", **options):
    """Return an image or array as a file."""
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, image_format, **options)
    return out.getvalue()


def pixels(random, channels=3):
    """Return smooth random pixels (h, w, channels) of random size."""
    size = tuple(random.integers(8, 72, 2))
    coarse = random.integers(0, 256, (4, 5, channels), np.uint8)
    return np.dstack([np.array(Image.fromarray(coarse[..., c]).resize(size)) for c in range(channels)])


def saved(random, image, formats=FORMATS, **options):
    """Return a usable file in one of the formats."""
    chosen = str(random.choice(formats))
    return ImageFile(encode(image, chosen, **options), SUFFIX[chosen], usable=True)


def converted(random, mode, formats):
    return saved(random, Image.fromarray(pixels(random)).convert(mode), formats)


def truncated(random):
    intact = saved(random, pixels(random))
    content = intact.content[: random.integers(1, len(intact.content))]
    return ImageFile(content, intact.suffix, None, original=intact.content)


def flipped(random, image_format):
    """Return a file with one to five flipped bits. Only PNG has checksums of its pixels."""
    intact = encode(pixels(random), image_format)
    content = bytearray(intact)
    for bit in random.integers(0, 8 * len(content), random.integers(1, 6)):
        content[bit // 8] ^= 1 << bit % 8
    return ImageFile(bytes(content), SUFFIX[image_format], None, original=intact if image_format == "PNG" else None)


def renamed(random):
    image_format, other = random.permutation(FORMATS)[:2]
    return ImageFile(encode(pixels(random), str(image_format)), SUFFIX[other], usable=True)


def one_of(random, contents, suffixes=SUFFIXES, usable=False):
    return ImageFile(contents[random.integers(len(contents))], str(random.choice(suffixes)), usable)


def noise(random):
    signatures = [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0", b"BM", b"RIFF\x40\0\0\0WEBPVP8 "]
    rest = random.bytes(random.integers(1, 4000))
    return one_of(random, [signature + rest for signature in signatures], usable=None)


def unknown_range(random):
    """Return a TIFF of float or negative integer pixels, whose range is unknown."""
    gray = pixels(random, 1)[..., 0]
    images = [gray.astype(np.float32), gray.astype(np.int32) - 70_000]
    return one_of(random, [encode(image, "TIFF") for image in images], [".tif"])


def palette(random):
    options = {"transparency": int(random.integers(16))} if random.random() < 0.5 else {}
    return saved(random, Image.fromarray(pixels(random)).quantize(16), ["PNG"], **options)


def png_bomb(width, height):
    """Return a small PNG file that declares this size."""
    content = bytearray(encode(np.zeros((9, 9, 3), np.uint8)))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def huge_header(random):
    """Return a JPEG or BMP file whose header declares a huge size."""
    image = pixels(random)
    if random.random() < 0.5:
        content = encode(image, "JPEG")
        size = content.index(b"\xff\xc0") + 5
        return ImageFile(content[:size] + b"\xff\xdc\xff\xdc" + content[size + 4 :], ".jpg", usable=False)
    height, width, _ = image.shape
    content = encode(image, "BMP")
    size = struct.pack("<ii", width * 100_000, height * 100_000)
    return ImageFile(content[:18] + size + content[26:], ".bmp", usable=False)


def several_pages(random):
    image = Image.fromarray(pixels(random))
    pages = [Image.fromarray(255 - np.array(image))]
    files = [encode(image, name, save_all=True, append_images=pages) for name in ("TIFF", "PNG", "WEBP", "GIF")]
    return one_of(random, files)


def rotated(random):
    exif = Image.Exif()
    exif[0x0112] = int(random.integers(0, 12))
    return saved(random, pixels(random), ["PNG", "JPEG", "TIFF", "WEBP"], exif=exif)


@cache
def text_bomb():
    """Return a PNG file with a comment of 80 MB."""
    comment = PngInfo()
    comment.add_text("Comment", "\0" * (80 << 20), zip=True)
    return encode(np.zeros((9, 9, 3), np.uint8), pnginfo=comment)


SIZES = [(60_000, 60_000), (8_000, 8_000), (2**31 - 1, 2**31 - 1), (50_000_001, 1), (2**31 - 1, 1)]
TEXTS = [b"not an image at all\n" * 40, b"<html><body>404</body></html>", b"%PDF-1.7\n", b"PK\3\4" * 99]
KINDS = {
    "intact": lambda random: saved(random, pixels(random)),
    "truncated": truncated,
    "flipped-png": lambda random: flipped(random, "PNG"),
    "flipped-jpeg": lambda random: flipped(random, "JPEG"),
    "flipped-tiff": lambda random: flipped(random, "TIFF"),
    "flipped-bmp": lambda random: flipped(random, "BMP"),
    "flipped-webp": lambda random: flipped(random, "WEBP"),
    "renamed": renamed,
    "empty": lambda random: one_of(random, [b""]),
    "text": lambda random: one_of(random, TEXTS),
    "noise": noise,
    "cmyk": lambda random: converted(random, "CMYK", ["JPEG", "TIFF"]),
    "gray-alpha": lambda random: converted(random, "LA", ["PNG", "TIFF"]),
    "one-bit": lambda random: converted(random, "1", ["PNG", "TIFF", "BMP"]),
    "16-bit": lambda random: saved(random, pixels(random, 1)[..., 0].astype(np.uint16) * 257, ["PNG", "TIFF"]),
    "unknown-range": unknown_range,
    "alpha": lambda random: saved(random, pixels(random, 4), ["PNG", "WEBP", "TIFF"]),
    "palette": palette,
    "bomb": lambda random: one_of(random, [png_bomb(*size) for size in SIZES], [".png"]),
    "huge-header": huge_header,
    "several-pages": several_pages,
    "rotated": rotated,
    "text-bomb": lambda _: ImageFile(text_bomb(), ".png", usable=None),
}
# Target, relative to the class folder, and whether the data stage must keep the image.
LINKS = {
    "link-inside": ("../a/anchor.png", True),
    "link-outside": ("../../outside.png", False),
    "link-device": ("/dev/zero", False),
    "link-dangling": ("../a/missing.png", False),
    "link-loop": ("{name}", False),
}


def write_files(root, numbers):
    """Write one file per number to two class folders. The number determines the kind and the content.

    Returns:
        The files by name, without the target of the links.
    """
    for label in "ab":
        (root / label).mkdir(parents=True)
    (root.parent / "outside.png").write_bytes(encode(np.full((9, 9, 3), 7, np.uint8)))
    (root / ANCHOR).write_bytes(encode(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)))
    kinds, files = [*KINDS, *LINKS, "pipe"], {}
    for number in numbers:
        kind, random = kinds[number % len(kinds)], np.random.default_rng([4, number])
        target, usable = LINKS.get(kind, (None, False))
        file = KINDS[kind](random) if kind in KINDS else ImageFile(None, str(random.choice(SUFFIXES)), usable)
        name = f"{'ab'[number % 2]}/{number:05}-{kind}{file.suffix}"
        path, files[name] = root / name, file
        if kind == "pipe":
            os.mkfifo(path)
        elif target:
            path.symlink_to(target.format(name=path.name))
        else:
            path.write_bytes(file.content)
    return files


def write_large(path):
    """Write an image of the largest allowed size, in one of the modes that need much memory."""
    size, rows = (SIDE, SIDE), np.arange(SIDE)[:, None] % 2
    if path.stem == "cmyk":
        Image.new("CMYK", size, (9, 60, 80, 0)).save(path, progressive=True, subsampling=0)
    elif path.stem == "palette":
        image = Image.new("P", size, 1)
        image.putpalette(range(6))
        image.save(path, transparency=b"\0\x80", compress_level=1)
    else:
        dtype, channels = {"rgba": (np.uint8, 4), "rgba16": (np.uint16, 4), "gray16": (np.uint16, 1)}[path.stem]
        array = np.empty((*size, channels), dtype)
        array[:] = (257 * rows).astype(dtype)[..., None]
        if path.stem == "rgba16":
            array[..., 3] = 65_535  # partial transparency is rejected
        path.write_bytes(imagecodecs.png_encode(array, level=1))
