import pytest

from medtune.config.errors import InputError
from medtune.runtime import device


@pytest.mark.parametrize("named", ["", "cpu", "mps"])
def test_check_device__accepts_valid_names(named, monkeypatch):
    monkeypatch.setenv("MEDTUNE_DEVICE", named)
    device.check_device()


@pytest.mark.parametrize(
    ("named", "message"),
    [("banana", "expected cpu"), ("cuda:x", "expected cpu"), ("cuda:1", "this machine has no GPU")],
)
def test_check_device__rejects_invalid_or_missing_devices(named, message, monkeypatch):
    monkeypatch.setenv("MEDTUNE_DEVICE", named)
    monkeypatch.setattr(device, "_has_nvidia_gpu", lambda: False)
    with pytest.raises(InputError, match=message):
        device.check_device()
