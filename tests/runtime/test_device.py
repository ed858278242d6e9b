import pytest

from medtune.config.errors import InputError
from medtune.runtime import device


@pytest.mark.parametrize("name", ["", "cpu", "mps"])
def test_check_device__accepts_valid_names(name, monkeypatch):
    monkeypatch.setenv("MEDTUNE_DEVICE", name)
    device.check_device()


@pytest.mark.parametrize(
    ("name", "message"),
    [("banana", "expected cpu"), ("cuda:x", "expected cpu"), ("cuda:1", "this machine has no GPU")],
)
def test_check_device__rejects_invalid_or_missing_devices(name, message, monkeypatch):
    monkeypatch.setenv("MEDTUNE_DEVICE", name)
    monkeypatch.setattr(device, "_has_nvidia_gpu", lambda: False)
    with pytest.raises(InputError, match=message):
        device.check_device()
