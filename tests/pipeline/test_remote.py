"""Tests of two clones that share a DVC remote: the second clone pulls all results and computes nothing.

The tests of the three kinds of remote differ only in how files arrive, so one of them repeats the pipeline.
"""

import asyncio
import hashlib
import json
import logging
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pipeline.conftest import Checkout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("remote")]

STEPS = [f"{stage} fold {fold}" for fold in range(3) for stage in ("frozen", "finetune")] + ["evaluate", "export"]
KEYS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_DEFAULT_REGION": "us-east-1"}


def commit(checkout: "Checkout", message: str) -> None:
    checkout.run("git", "add", "--all")
    checkout.run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", message)


def clone(checkout: "Checkout", folder: Path) -> "Checkout":
    """Clone the checkout with an empty DVC cache and an empty MedTune cache."""
    checkout.run("git", "clone", "--quiet", str(checkout.folder), str(folder))
    return type(checkout)(folder)


def digests(checkout: "Checkout") -> dict[str, str]:
    """Return the sha256 of every file that the remote stores."""
    folders = [checkout.folder / name for name in ("data/slides", "data/prepared", "artifacts")]
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(checkout.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def first(trained_copy: "Checkout") -> "Checkout":
    """Return a clone with a network trained on images that DVC tracks, committed but not pushed."""
    checkout = trained_copy
    status = checkout.run("git", "status", "--porcelain", "--untracked-files=all", "data/slides", "data/slides.dvc")
    assert status.split() == ["??", "data/slides.dvc"]
    checkout.run("python", "-m", "medtune", "data")
    assert "done: 0 of 8 steps ran" in checkout.train("--no-prefect")
    (checkout.folder / "dvc.lock").unlink()
    checkout.run("dvc", "commit", "--force")  # the commands above are those of `dvc repro`
    assert "up to date" in checkout.run("dvc", "repro")
    commit(checkout, "Train on our slides")
    return checkout


def check_all_files_arrive(second: "Checkout", first: "Checkout", **keys: str) -> None:
    """Check that `dvc pull` in a new clone yields identical files."""
    assert not (second.folder / "artifacts").exists()
    second.run("dvc", "pull", **keys)
    assert digests(second) == digests(first)


def check_nothing_is_computed(second: "Checkout", first: "Checkout") -> None:
    """Check that `dvc repro` and training in a clone with all files compute nothing and change no file."""
    printed = second.run("dvc", "repro")
    assert re.findall(r"Stage '(\w+)' didn't change, skipping", printed) == ["data", "train"]
    assert "Running stage" not in printed
    assert not (second.folder / ".cache").exists()
    assert json.loads(second.run("dvc", "status", "--json")) == {}
    printed = second.train("--no-prefect")  # the keys of MedTune match too
    assert re.findall(r"^(.+): cached \(key \w+\)$", printed, re.MULTILINE) == STEPS
    assert digests(second) == digests(first)


def test_path__second_clone_computes_nothing(first: "Checkout", tmp_path: Path) -> None:
    first.run("python", "-m", "medtune", "remote", str(tmp_path / "store"))
    commit(first, "Keep data and results in a folder")
    first.run("dvc", "push")
    second = clone(first, tmp_path / "second")
    check_all_files_arrive(second, first)
    check_nothing_is_computed(second, first)
    shutil.rmtree(second.folder / "data" / "slides")
    assert "up to date" in second.run("dvc", "repro", "--allow-missing")


@pytest.fixture
def endpoint() -> Iterator[str]:
    """Start an S3 server with a bucket `hospital` and return its address."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    session = boto3.Session(KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1")
    session.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="hospital")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.nightly
def test_s3__second_clone_has_all_files(first: "Checkout", endpoint: str, tmp_path: Path) -> None:
    first.run("python", "-m", "medtune", "remote", "s3://hospital/medtune", "--endpoint", endpoint, **KEYS)
    commit(first, "Keep data and results in S3")
    assert "hunter2" not in (first.folder / ".dvc" / "config").read_text()
    first.run("dvc", "push", **KEYS)
    check_all_files_arrive(clone(first, tmp_path / "second"), first, **KEYS)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    """Start an SFTP server with a password for user `me` and return its URL."""
    import asyncssh

    class Server(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == ("me", "hunter2")

    async def listen() -> asyncssh.SSHAcceptor:
        def files(channel: "asyncssh.SSHServerChannel[bytes]") -> asyncssh.SFTPServer:
            return asyncssh.SFTPServer(channel, chroot=str(tmp_path / "host"))

        key = asyncssh.generate_private_key("ssh-ed25519")
        return await asyncssh.listen("127.0.0.1", 0, server_factory=Server, server_host_keys=[key], sftp_factory=files)

    (tmp_path / "host").mkdir()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(timeout=30)
    yield f"ssh://me:hunter2@127.0.0.1:{server.get_port()}/store"
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=30)


@pytest.mark.nightly
def test_ssh__second_clone_has_all_files(first: "Checkout", host: str, tmp_path: Path) -> None:
    config = (first.folder / ".dvc" / "config").read_text()
    printed = first.run("python", "-m", "medtune", "remote", host, "--name", "mine", "--local")
    assert "hunter2" not in printed
    assert (first.folder / ".dvc" / "config").read_text() == config
    first.run("dvc", "push")
    second = clone(first, tmp_path / "second")
    second.run("python", "-m", "medtune", "remote", host, "--name", "mine", "--local")
    check_all_files_arrive(second, first)
    (first.folder / ".dvc" / "config.local").unlink()


def test_flipped_byte__damaged_file_in_the_remote_is_rejected(first: "Checkout", tmp_path: Path) -> None:
    first.run("python", "-m", "medtune", "remote", str(tmp_path / "store"))
    commit(first, "Keep data and results in another folder")
    first.run("dvc", "push")
    weights = (first.folder / "artifacts" / "finetune" / "fold-1" / "model.safetensors").read_bytes()
    md5 = hashlib.md5(weights).hexdigest()
    stored = tmp_path / "store" / "files" / "md5" / md5[:2] / md5[2:]
    flipped = bytearray(weights)
    flipped[len(flipped) // 2] ^= 1
    stored.chmod(0o644)
    stored.write_bytes(flipped)
    second = clone(first, tmp_path / "second")
    process = second.start(["dvc", "pull"])
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 1, printed
    assert re.search(r"Checkout failed for following targets:\nartifacts/finetune\n", printed)
    pulled = digests(second)
    assert not [name for name in pulled if name.startswith("artifacts/finetune/")]
    assert pulled.items() <= digests(first).items()
    assert "data/slides/patient00_0.png" in pulled
