import hashlib

import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.data.download import download

CONTENT = np.random.default_rng(3).bytes(400_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


def test_download__complete_file_is_not_requested_again(server, tmp_path):
    target = tmp_path / "new" / "set.npz"
    assert download(server.url, target, MD5).read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["set.npz"]
    download(server.url, target, MD5)
    assert len(server.range_headers) == 1


def test_download__resumes_after_every_interruption(server, tmp_path):
    server.interrupted_at = [150_000, 100_000]
    download(server.url, tmp_path / "set.npz", MD5, pause_s=0)
    assert (tmp_path / "set.npz").read_bytes() == CONTENT
    assert server.range_headers == [None, "bytes=150000-", "bytes=250000-"]


def test_download__next_run_resumes(server, tmp_path):
    server.interrupted_at = [50_000, 0, 0, 0, 0]
    with pytest.raises(InputError, match="Run again to resume"):
        download(server.url, tmp_path / "set.npz", MD5, pause_s=0)
    assert (tmp_path / "set.npz.part").stat().st_size == 50_000
    assert not (tmp_path / "set.npz").exists()
    download(server.url, tmp_path / "set.npz", MD5, pause_s=0)
    assert server.range_headers[-1] == "bytes=50000-"
    assert (tmp_path / "set.npz").read_bytes() == CONTENT


def test_download__killed_between_the_last_byte_and_the_rename(server, tmp_path):
    (tmp_path / "set.npz.part").write_bytes(CONTENT)
    (tmp_path / "set.npz.part.version").write_text('"v1"')
    download(server.url, tmp_path / "set.npz", MD5, pause_s=0)
    assert (tmp_path / "set.npz").read_bytes() == CONTENT


def test_download__changed_file_is_downloaded_again(server, tmp_path):
    (tmp_path / "set.npz.part").write_bytes(b"old" * 1000)
    (tmp_path / "set.npz.part.version").write_text('"v0"')
    download(server.url, tmp_path / "set.npz", MD5, pause_s=0)
    assert (tmp_path / "set.npz").read_bytes() == CONTENT


def test_download__server_without_ranges_starts_again(server, tmp_path):
    server.ranges, server.interrupted_at = False, [1000]
    download(server.url, tmp_path / "set.npz", MD5, pause_s=0)
    assert (tmp_path / "set.npz").read_bytes() == CONTENT


def test_download__file_with_wrong_checksum_is_deleted(server, tmp_path):
    with pytest.raises(InputError, match=f"md5 is {MD5}, published is {'0' * 32}"):
        download(server.url, tmp_path / "set.npz", "0" * 32)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("/missing", "404. Check the address"),
        ("/broken", "503"),
        ("ftp://host/a", "must begin with http"),
        ("http://", "address"),
    ],
)
def test_download__invalid_address_or_status_is_an_error(server, tmp_path, address, reason):
    url = address if "://" in address else server.url.replace("/set.npz", address)
    with pytest.raises(InputError, match=reason):
        download(url, tmp_path / "set.npz", pause_s=0)


def test_download__unreachable_server_is_an_error(tmp_path):
    with pytest.raises(InputError, match="connection lost"):
        download("http://127.0.0.1:9/set.npz", tmp_path / "set.npz", pause_s=0)


def test_download__existing_file_is_verified(server, tmp_path):
    (tmp_path / "set.npz").write_bytes(b"something else")
    with pytest.raises(InputError, match="expected"):
        download(server.url, tmp_path / "set.npz", MD5)
    assert server.range_headers == []
