""".npz files that lie about what is in them, through the source that reads them."""

import io
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from medtune.config.errors import InputError
from medtune.data.sources import medmnist

Draw = np.random.Generator
SLOW_S = 20.0
ROWS = 12


def npy(array: np.ndarray) -> bytes:
    """An array as .npy."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def header(shape: object, descr: str = "|u1", fortran: bool = False, pad: int = 0) -> bytes:
    """The head of a .npy that claims `shape`, over no data."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}" + " " * pad + "\n"
    return b"\x93NUMPY\2\0" + len(text).to_bytes(4, "little") + text.encode()


def packed(images: bytes, labels: bytes) -> bytes:
    """An .npz with training images and labels."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("train_images.npy", images)
        bundle.writestr("train_labels.npy", labels)
    return out.getvalue()


def whole(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a small set."""
    return draw.integers(0, 256, (ROWS, 9, 9, 3), np.uint8), draw.integers(0, 2, (ROWS, 1))


def _claims(draw: Draw) -> bytes:
    """More than is there, or than any memory holds."""
    images, labels = whole(draw)
    lies = [(10**12, 9, 9, 3), (2**40, 1, 1, 3), (12, 30_000, 30_000, 3), (1, 40_000, 40_000, 3), (-1, 9, 9, 3),
            (2**63, 2**63, 3), (12, 0, 9, 3), (13, 9, 9, 3), (12, 9, 9, 3, 2), (), (12, 2**31, 2**31, 3)]  # fmt: skip
    if draw.random() < 0.3:
        return packed(npy(images), header((10**12, 1), "<i8") + labels.tobytes())
    return packed(header(lies[draw.integers(len(lies))]) + images.tobytes(), npy(labels))


def _bomb(draw: Draw) -> bytes:
    """A megabyte that becomes hundreds: one row, or a label for each of millions of bytes."""
    if draw.random() < 0.5:
        return packed(header((1, 12_000, 12_000, 3)) + bytes(432_000_000), npy(np.zeros((1, 1), np.int64)))
    return packed(header((40_000_000, 1, 1)) + bytes(40_000_000), header((40_000_000, 1)) + bytes(40_000_000))


def _dtype(draw: Draw) -> bytes:
    images, labels = whole(draw)
    if draw.random() < 0.3:
        return packed(npy(images), header((ROWS, 1), str(draw.choice(["|O", "<f8", "|S8", "|V8"]))) + bytes(800))
    kinds = ["|O", "<f4", "|S1", "<U2", "|V3", "<c8", "<M8[s]", "nonsense", "__import__('os')"]
    return packed(header((ROWS, 9, 9, 3), kinds[draw.integers(len(kinds))]) + images.tobytes(), npy(labels))


def _header(draw: Draw) -> bytes:
    images, labels = whole(draw)
    heads = [
        header((ROWS, 9, 9, 3), pad=2_000_000),
        header((ROWS, 9, 9, 3), fortran=True),
        b"\x93NUMPY\2\0" + (2**31).to_bytes(4, "little") + b"{",
        b"\x93NUMPY\2\0\x20\0\0\0" + b"__import__('os').abort()        \n",
        b"\x93NUMPY\2\0\x20\x03\0\0" + b"(" * 799 + b"\n",
        b"\x93NUMPY\x09\0\x10\0" + b"{}" + b" " * 14,
        b"no array",
        b"",
    ]
    return packed(heads[draw.integers(len(heads))] + images.tobytes(), npy(labels))


def _flipped(draw: Draw) -> bytes:
    images, labels = whole(draw)
    content = bytearray(packed(npy(images), npy(labels)))
    if draw.random() < 0.3:
        del content[int(draw.integers(len(content))) :]
    for place in draw.integers(0, len(content), draw.integers(1, 4)) if content else ():
        content[place] ^= 1 << int(draw.integers(8))
    return bytes(content)


KINDS: dict[str, tuple[Callable[[Draw], bytes], bool | None]] = {
    "npz-whole": (lambda draw: packed(*map(npy, whole(draw))), True),
    "npz-claims": (_claims, False),
    "npz-dtype": (_dtype, False),
    "npz-header": (_header, False),
    "npz-flipped": (_flipped, None),
    "npz-bomb": (_bomb, False),
}


def try_one(path: Path, number: int) -> tuple[str, str | None]:
    """What file `number` is, and what went wrong when it was read, or None."""
    kind = list(KINDS)[number % len(KINDS)]
    make, usable = KINDS[kind]
    seed = [5, 1, number]
    path.write_bytes(make(np.random.default_rng(seed)))
    params = medmnist.Params(root=str(path))
    begun = time.monotonic()
    try:
        records = medmnist.list_samples(path, params)
        images = np.stack([record.read() for record in records if record.read])
        labels = np.array([medmnist.classes(params).index(record.label) for record in records])
    except InputError as error:
        fault = f"refused: {error}" if usable else None
        if "\n" in str(error) or str(path) not in str(error):
            fault = f"the refusal is no line that names it: {error}"
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"[:300]
    else:
        right = whole(np.random.default_rng(seed))
        same = np.array_equal(images, right[0]) and np.array_equal(labels, right[1].reshape(-1))
        fault = "read" if usable is False else None if same else "read, and other than what was written"
    path.unlink()
    if (seconds := time.monotonic() - begun) > SLOW_S:
        fault = fault or f"took {seconds:.0f} s"
    return kind, fault
