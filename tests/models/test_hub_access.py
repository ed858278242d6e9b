"""Access to the model hub: fast errors that name the file and its path."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from medtune.config.errors import InputError
from medtune.models import hub_access

CFG = {"hf_hub_id": "timm/vit_small_patch16_224.augreg_in21k"}


@pytest.fixture
def check_access(monkeypatch, tmp_path):
    """Check the access to a hub at an address with an empty cache."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def check(address: str, hint: str = "") -> None:
        monkeypatch.setenv("HF_ENDPOINT", address)
        hub_access.check_access("vit_small_patch16_224", CFG, hint)

    return check


class Hub(BaseHTTPRequestHandler):
    """Server of the paths in `files`; other paths return `status`."""

    files: tuple[str, ...] = ()
    status = 404

    def do_HEAD(self) -> None:
        self.send_response(302 if self.path.endswith(self.files or ("/nothing",)) else self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub():
    server = HTTPServer(("127.0.0.1", 0), type("TestHub", (Hub,), {}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_check__error_names_the_file_its_path_and_the_option(check_access):
    with pytest.raises(InputError) as error:
        check_access("http://127.0.0.1:9", "--set model.normalization=x")
    text = str(error.value)
    assert "http://127.0.0.1:9 does not answer" in text
    assert "https://huggingface.co/timm/vit_small_patch16_224.augreg_in21k/resolve/main/model.safetensors" in text
    file = "weights/vit_small_patch16_224.augreg_in21k.safetensors"
    assert f"--set model.weights={file} --set model.normalization=x" in text
    assert len(text.splitlines()) == 1


def test_check__times_out_at_a_silent_server(check_access, monkeypatch):
    monkeypatch.setattr(hub_access, "TIMEOUT_S", 0.5)
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, pytest.raises(InputError, match="does not answer within"):
        check_access(f"http://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize(("status", "message"), [(404, "status 404"), (401, "HF_TOKEN"), (503, "status 503")])
def test_check__error_names_the_status_of_the_hub(check_access, hub, status, message):
    hub.RequestHandlerClass.status = status
    with pytest.raises(InputError, match=message):
        check_access(f"http://127.0.0.1:{hub.server_port}")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_check__accepts_an_existing_file(check_access, hub, name):
    hub.RequestHandlerClass.files = (name,)
    check_access(f"http://127.0.0.1:{hub.server_port}")
    assert hub_access._fault([f"http://127.0.0.1:{hub.server_port}/{name}"]) is None


def test_check__offline_makes_no_request(check_access, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        check_access("http://127.0.0.1:9")
