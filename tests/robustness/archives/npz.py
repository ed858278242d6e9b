"""Npz files of the data source `medmnist` that are intact or contain false or dangerous headers."""

import io
import zipfile

import numpy as np

RANDOM = np.random.default_rng(0)
IMAGES, LABELS = RANDOM.integers(0, 256, (12, 9, 9, 3), np.uint8), RANDOM.integers(0, 2, (12, 1))


def npy(array):
    """Return an array as a .npy file."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def header(shape, dtype="|u1", fortran=False, padding=0):
    """Return the start of a .npy file that declares this shape and dtype."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}" + " " * padding + "\n"
    return b"\x93NUMPY\2\0" + len(text).to_bytes(4, "little") + text.encode()


def pack(images, labels):
    """Return an npz file of two .npy files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train_images.npy", images)
        archive.writestr("train_labels.npy", labels)
    return out.getvalue()


INTACT = pack(npy(IMAGES), npy(LABELS))
SHAPES = [
    (10**12, 9, 9, 3), (2**40, 1, 1, 3), (12, 30_000, 30_000, 3), (1, 40_000, 40_000, 3), (-1, 9, 9, 3),
    (2**63, 2**63, 3), (12, 0, 9, 3), (13, 9, 9, 3), (12, 9, 9, 3, 2), (), (12, 2**31, 2**31, 3),
]  # fmt: skip
DTYPES = ["|O", "<f4", "|S1", "<U2", "|V3", "<c8", "<M8[s]", "nonsense", "__import__('os')"]
LABEL_DTYPES = ["|O", "<f8", "|S8", "|V8"]
HEADERS = {
    **{f"shape {shape}": header(shape) for shape in SHAPES},
    **{f"dtype {dtype}": header(IMAGES.shape, dtype) for dtype in DTYPES},
    "long header": header(IMAGES.shape, padding=2_000_000),
    "column-major": header(IMAGES.shape, fortran=True),
    "header of 2 GB": b"\x93NUMPY\2\0" + (2**31).to_bytes(4, "little") + b"{",
    "header with code": b"\x93NUMPY\2\0\x20\0\0\0" + b"__import__('os').abort()        \n",
    "nested header": b"\x93NUMPY\2\0\x20\x03\0\0" + b"(" * 799 + b"\n",
    "unknown version": b"\x93NUMPY\x09\0\x10\0" + b"{}" + b" " * 14,
    "no magic number": b"no array",
    "no header": b"",
}
INVALID = {
    **{name: (start + IMAGES.tobytes(), npy(LABELS)) for name, start in HEADERS.items()},
    **{f"labels {dtype}": (npy(IMAGES), header(LABELS.shape, dtype) + bytes(800)) for dtype in LABEL_DTYPES},
    "too many labels": (npy(IMAGES), header((10**12, 1), "<i8") + LABELS.tobytes()),
}


def bomb_row():
    """Return a file of 0.4 MB with one row of 432 MB."""
    return pack(header((1, 12_000, 12_000, 3)) + bytes(432_000_000), npy(np.zeros((1, 1), np.int64)))


def bomb_rows():
    """Return a file of a few kilobytes with 40 million rows."""
    return pack(header((40_000_000, 1, 1)) + bytes(40_000_000), header((40_000_000, 1)) + bytes(40_000_000))
