"""Cache of the model hub: rejection of files that do not match their checksum."""

import hashlib

import pytest

from medtune.config.errors import InputError
from medtune.models import hub

CFG = {"hf_hub_id": "owner/name", "hf_hub_filename": None}


@pytest.fixture
def blob(tmp_path, monkeypatch):
    """Create a cached model.safetensors in the layout of huggingface_hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    cache = tmp_path / "models--owner--name"
    content = bytes(range(256))
    blob = cache / "blobs" / hashlib.sha256(content).hexdigest()
    for folder in (blob.parent, cache / "refs", cache / "snapshots" / "abc"):
        folder.mkdir(parents=True)
    blob.write_bytes(content)
    (cache / "refs" / "main").write_text("abc")
    (cache / "snapshots" / "abc" / "model.safetensors").symlink_to(blob)
    return blob


def test_check_cached__accepts_an_intact_file(blob):
    assert [path.name for path in hub.cached_files(CFG)] == ["model.safetensors"]
    assert hub.check_cached(CFG)


def test_check_cached__missing_files_are_not_cached(blob):
    assert not hub.check_cached({"hf_hub_id": "owner/other"})
    assert not hub.check_cached({})


@pytest.mark.parametrize("damage", ["flipped", "truncated"])
def test_check_cached__rejects_a_damaged_file(blob, damage):
    content = bytearray(blob.read_bytes())
    content[7] ^= 4
    blob.write_bytes(content if damage == "flipped" else content[:9])
    with pytest.raises(InputError, match=r"model\.safetensors of owner/name is damaged in the hub's cache\. Delete"):
        hub.check_cached(CFG)
