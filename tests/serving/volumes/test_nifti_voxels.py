"""Truncated, damaged and dishonest files, and limits that hold before all bytes are decompressed."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.nifti import read_grid, read_mask, read_volume, write_label_map
from tests.robustness.profile import examples
from tests.serving.volumes.volume_files import patch, read_content, write_nifti

DATA = np.random.default_rng(2).integers(0, 200, (9, 8, 7), np.int16)


@examples(small=60, full=2000)
@given(st.data(), st.sampled_from([".nii", ".nii.gz"]))
def test_truncated__at_each_length_is_refused(tmp_path, data, suffix):
    path = write_nifti(tmp_path / f"x{suffix}", DATA)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(DecodeError, match=rf"x{suffix}: .*(truncated|empty|damaged|not a NIfTI file)"):
        read_volume(path)


def test_truncated__compressed_stream_or_content(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "x.nii.gz", DATA)
    whole = read_content(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DecodeError, match=r"x.nii.gz: the compressed file is truncated"):
        read_volume(path)
    path.write_bytes(gzip.compress(whole[:-2]))
    with pytest.raises(DecodeError, match=r"x.nii.gz: truncated: the file ends before the last voxel"):
        read_volume(path)
    (tmp_path / "x.nii").write_bytes(whole[:-2])
    with pytest.raises(DecodeError, match=r"x.nii: truncated: the header states 1,360 bytes, but the file of 1,358"):
        read_grid(tmp_path / "x.nii")


@examples(small=60, full=2000)
@given(st.data())
def test_damaged__compressed_file_is_refused_or_read_correctly(tmp_path, data):
    path = write_nifti(tmp_path / "x.nii.gz", DATA)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(content))
    try:
        volume = read_volume(path)
    except DecodeError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
    else:  # flags and time in the header of gzip do not matter
        assert np.array_equal(volume.data[0], DATA)


@examples(small=200, full=5000)
@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=4), st.sampled_from([1, 2]))
def test_damaged__header_is_refused_or_read(tmp_path, changes, version):
    path = write_nifti(tmp_path / "x.nii", DATA, version=version)
    content = bytearray(path.read_bytes())
    for position, value in changes:
        content[position] = value
    path.write_bytes(bytes(content))
    try:
        volume = read_volume(path)
    except DecodeError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
    else:
        assert volume.data.size == DATA.size or content[70] != 4  # the type has another number of bytes
        assert np.isfinite(volume.data).all()
        write_label_map(tmp_path / "y.nii", np.zeros(volume.shape, np.uint8), volume.grid)
        read_grid(tmp_path / "y.nii").check_same(volume.grid, "the volume")


def test_damaged__checksum_is_verified(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "x.nii.gz", DATA)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DecodeError, match=r"x.nii.gz: the compressed file is damaged \(CRC check failed"):
        read_volume(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_more_bytes__than_the_header_states_are_refused(tmp_path, suffix):
    path = patch(write_nifti(tmp_path / f"x{suffix}", DATA), dim=(3, 9, 8, 6))
    with pytest.raises(DecodeError, match=rf"x{suffix}: the file has more bytes than its header states"):
        read_volume(path)
    with pytest.raises(DecodeError, match=rf"x{suffix}: the file has more bytes than its header states"):
        read_mask(path, range(256))


def bomb(path: Path, content: bytes, tail: bytes) -> None:
    """Write a file that decompresses to `content` and 1 GiB of zeros; `tail` is damaged data behind them."""
    zeros = gzip.compress(bytes(1 << 24), 9)
    path.write_bytes(gzip.compress(content) + zeros * 64 + tail)


def test_bomb__beyond_the_stated_bytes_is_not_decompressed(tmp_path: Path) -> None:
    content = read_content(write_nifti(tmp_path / "x.nii", DATA))
    bomb(tmp_path / "x.nii.gz", content, b"damaged")
    tracemalloc.start()
    try:
        # If all were decompressed, the damaged tail would be reported.
        with pytest.raises(DecodeError, match="more bytes than its header states"):
            read_volume(tmp_path / "x.nii.gz")
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_bomb__of_many_voxels_is_refused_by_the_header(tmp_path: Path) -> None:
    path = patch(write_nifti(tmp_path / "x.nii", DATA), dim=(3, 2000, 2000, 600))
    bomb(tmp_path / "x.nii.gz", read_content(path), b"damaged")
    with pytest.raises(DecodeError, match="2000 x 2000 x 600 voxels; at most 2,147,483,648 are read"):
        read_volume(tmp_path / "x.nii.gz")


def test_bomb__stated_size_must_fit_into_the_file(tmp_path: Path) -> None:
    path = patch(write_nifti(tmp_path / "x.nii.gz", DATA), dim=(3, 1000, 1000, 1000))
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match=r"truncated: the header states 2,000,000,352 bytes, but the file of"):
            read_volume(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
