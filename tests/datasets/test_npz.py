import numpy as np
import pytest

from config.errors import InputError
from datasets.npz import Rows, array_names

ARRAY = np.random.default_rng(1).integers(0, 256, (20, 6, 5, 3), np.uint8)


@pytest.fixture(params=[np.savez, np.savez_compressed])
def file(tmp_path, request):
    request.param(tmp_path / "a.npz", images=ARRAY, labels=np.arange(20))
    return tmp_path / "a.npz"


def test_rows__in_and_out_of_order(file):
    rows = Rows(file, "images")
    for index in (0, 1, 2, 7, 3, 19, 0):
        assert np.array_equal(rows.row(index), ARRAY[index])
    assert np.array_equal(Rows(file, "labels").all(), np.arange(20))
    assert array_names(file) == {"images", "labels"}


def test_rows__pickled_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "evil.npz", images=np.array([print, 1], dtype=object))
    with pytest.raises(InputError, match="object"):
        Rows(tmp_path / "evil.npz", "images")


def test_rows__damage_is_an_input_error(tmp_path):
    np.savez(tmp_path / "a.npz", images=ARRAY)
    good = (tmp_path / "a.npz").read_bytes()
    for number, content in enumerate([good[:500], b"", b"not a zip" * 99]):
        bad = tmp_path / f"bad{number}.npz"
        bad.write_bytes(content)
        with pytest.raises(InputError):
            Rows(bad, "images").all()
    flipped = bytearray(good)
    flipped[700] ^= 1
    (tmp_path / "flipped.npz").write_bytes(flipped)
    with pytest.raises(InputError, match="damaged"):
        Rows(tmp_path / "flipped.npz", "images").all()
    with pytest.raises(InputError, match="no array labels"):
        Rows(tmp_path / "a.npz", "labels")
