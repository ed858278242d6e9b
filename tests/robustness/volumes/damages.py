"""Damage to a NIfTI file: in its header, its voxels or its compressed stream."""

import gzip
import struct

from hypothesis import strategies as st

from tests.serving.volumes.volume_files import FIELDS

HEADER_BYTES = 352  # with the flag of extensions
SUFFIXES = (".nii", ".nii.gz")
# Number of values of the header fields with more than one value.
_LENGTHS = {"dim": 8, "pixdim": 8, "quatern_b": 6, "srow_x": 4, "srow_y": 4, "srow_z": 4, "magic": 4}
_VALUES = {
    "h": st.one_of(st.sampled_from([-32768, -1, 0, 1, 2, 3, 4, 8, 16, 64, 512, 32767]), st.integers(-32768, 32767)),
    "B": st.integers(0, 255),
    "f": st.one_of(
        st.sampled_from([0.0, -1.0, float("nan"), float("inf"), -float("inf"), 1e-30, 1e30, 352.0, 1e9]),
        st.floats(-1e3, 1e3, width=32),
    ),
}


def pack(content: bytes, suffix: str) -> bytes:
    """Compress the content of a NIfTI file if the suffix requires it."""
    return gzip.compress(content, 6, mtime=0) if suffix == ".nii.gz" else content


def _flip(draw, content, first, last):
    position = draw(st.integers(first, last - 1))
    flipped = content[position] ^ 1 << draw(st.integers(0, 7))
    return content[:position] + bytes([flipped]) + content[position + 1 :], f"bit of byte {position} flipped"


def _header_bit(draw, content, suffix):
    damaged, text = _flip(draw, content, 0, HEADER_BYTES)
    return pack(damaged, suffix), text


def _header_field(draw, content, suffix):
    name = draw(st.sampled_from(sorted(FIELDS)))
    offset, kind = FIELDS[name]
    number = draw(st.integers(0, _LENGTHS.get(name, 1) - 1))
    value, damaged = draw(_VALUES[kind]), bytearray(content)
    struct.pack_into(f"<{kind}", damaged, offset + number * struct.calcsize(kind), value)
    return pack(bytes(damaged), suffix), f"{name}[{number}] = {value!r}"


def _voxel_bit(draw, content, suffix):
    damaged, text = _flip(draw, content, HEADER_BYTES, len(content))
    return pack(damaged, suffix), text


def _stored_bit(draw, content, suffix):
    stored = pack(content, ".nii.gz")
    return _flip(draw, stored, 0, len(stored))


def _truncated(draw, content, suffix):
    stored = pack(content, suffix)
    length = draw(st.integers(0, len(stored) - 1))
    return stored[:length], f"{length} of {len(stored)} bytes"


def _appended(draw, content, suffix):
    extra = draw(st.one_of(st.binary(min_size=1, max_size=40), st.sampled_from([b"\0" * 9, pack(b"more", ".nii.gz")])))
    return pack(content, suffix) + extra, f"{len(extra)} bytes appended"


KINDS = {
    "header bit": _header_bit,
    "header field": _header_field,
    "voxel bit": _voxel_bit,
    "compressed bit": _stored_bit,
    "truncated": _truncated,
    "appended": _appended,
}


@st.composite
def damaged(draw, content: bytes, kind: str, suffix: str | None = None):
    """Return a damaged file, its suffix and a description.

    Args:
        draw: function of hypothesis.
        content: the intact NIfTI-1 file, little-endian and not compressed.
        kind: key of `KINDS`.
        suffix: suffix of the file; None draws it.
    """
    if kind == "compressed bit":
        suffix = ".nii.gz"
    suffix = suffix or draw(st.sampled_from(SUFFIXES))
    stored, text = KINDS[kind](draw, content, suffix)
    return stored, suffix, f"{suffix}: {text}"
