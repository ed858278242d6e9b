import zipfile

import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.data.npz import RowReader, array_names

ARRAY = np.random.default_rng(1).integers(0, 256, (20, 6, 5, 3), np.uint8)


@pytest.fixture(params=[np.savez, np.savez_compressed])
def file(tmp_path, request):
    request.param(tmp_path / "a.npz", images=ARRAY, labels=np.arange(20))
    return tmp_path / "a.npz"


def test_rows__in_and_out_of_order(file):
    rows = RowReader(file, "images")
    for index in (0, 1, 2, 7, 3, 19, 0):
        assert np.array_equal(rows.read_row(index), ARRAY[index])
    assert np.array_equal(RowReader(file, "labels").read_all(), np.arange(20))
    assert array_names(file) == {"images", "labels"}


def test_rows__pickled_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "evil.npz", images=np.array([print, 1], dtype=object))
    with pytest.raises(InputError, match="object"):
        RowReader(tmp_path / "evil.npz", "images")


def test_rows__damage_is_an_input_error(tmp_path):
    np.savez(tmp_path / "a.npz", images=ARRAY)
    intact = (tmp_path / "a.npz").read_bytes()
    for number, content in enumerate([intact[:500], b"", b"not a zip" * 99]):
        damaged = tmp_path / f"bad{number}.npz"
        damaged.write_bytes(content)
        with pytest.raises(InputError):
            RowReader(damaged, "images").read_all()
    flipped = bytearray(intact)
    flipped[700] ^= 1
    (tmp_path / "flipped.npz").write_bytes(flipped)
    with pytest.raises(InputError, match="damaged"):
        RowReader(tmp_path / "flipped.npz", "images").read_all()
    with pytest.raises(InputError, match="no array labels"):
        RowReader(tmp_path / "a.npz", "labels")


@pytest.mark.parametrize("head", [b"(" * 79 + b"\n", b"__import__('os').abort()" + b" " * 56])
def test_rows__damaged_header_is_an_error(tmp_path, head):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as bundle:
        bundle.writestr("images.npy", b"\x93NUMPY\x01\0" + len(head).to_bytes(2, "little") + head)
    with pytest.raises(InputError, match=r"array images is damaged: [^\n]+$"):
        RowReader(tmp_path / "a.npz", "images")


def test_rows__too_many_rows_are_an_error(tmp_path):
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 1), }\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as bundle:
        bundle.writestr("labels.npy", b"\x93NUMPY\x01\0" + len(head).to_bytes(2, "little") + head)
    with pytest.raises(InputError, match="has 1,000,000,000,000 rows; expected at most 5,000,000"):
        RowReader(tmp_path / "a.npz", "labels")
