import pytest

from medtune.config.errors import InputError
from medtune.runtime import device


@pytest.mark.parametrize("named", ["", "cpu", "mps"])
def test_check_device__takes_what_may_be(named, monkeypatch):
    monkeypatch.setenv("MEDTUNE_DEVICE", named)
    device.check_device()


@pytest.mark.parametrize(
    ("named", "said"), [("banana", "expected cpu"), ("cuda:x", "expected cpu"), ("cuda:1", "this machine has no GPU")]
)
def test_check_device__refuses_what_is_not_there(named, said, monkeypatch):
    monkeypatch.setenv("MEDTUNE_DEVICE", named)
    monkeypatch.setattr(device, "_has_nvidia_gpu", lambda: False)
    with pytest.raises(InputError, match=said):
        device.check_device()
