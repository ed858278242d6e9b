"""Configuration of the DVC remote after a successful probe."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medtune.config.errors import InputError
from medtune.registry import remote as command
from medtune.registry import remote_url

PROJECT = Path(__file__).resolve().parent.parent.parent
COMMITTED = "[core]\n    analytics = false\n    check_update = false\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the committed DVC settings, without settings of user and machine."""
    folder = tmp_path / "medtune"
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text(COMMITTED)
    for module in (command, remote_url):
        monkeypatch.setattr(module, "PROJECT", folder)
    for level in ("GLOBAL", "SYSTEM"):
        monkeypatch.setenv(f"DVC_{level}_CONFIG_DIR", str(tmp_path / level))
    return folder


def error_message(call: Callable[[], None]) -> str:
    with pytest.raises(InputError) as raised:
        call()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("shs://host/x", "unknown scheme shs:// (did you mean 'ssh'?)"),
        ("ftp://host/x", "Use a path or one of azure, "),
        ("hdfs://host/x", "DVC has no verified transfer for hdfs://"),
        ("s3:/bucket/x", "did you mean s3://bucket/x?"),
        ("me@host:/srv/x", "did you mean ssh://me@host/srv/x?"),
        ("ssh:///srv/x", "no host or bucket"),
        ("ssh://host:port/x", "not a valid URL"),
        ("gs://bucket/x", "'dvc-gs' to be installed"),
        ("s3://KEY@bucket/x", "AWS_ACCESS_KEY_ID"),
    ],
)
def test_url__rejects_invalid_remotes(checkout: Path, url: str, message: str) -> None:
    assert message in error_message(lambda: command.configure_remote(url))
    assert (checkout / ".dvc" / "config").read_text() == COMMITTED


@pytest.mark.parametrize(
    "url", ["ssh://me:hunter2@host/x", "https://host/x?token=hunter2", "s3://KEY:hunter2@bucket/x"]
)
def test_url__secret_is_neither_committed_nor_repeated(checkout: Path, url: str) -> None:
    message = error_message(lambda: command.configure_remote(url))
    assert "hunter2" not in message
    assert "--local" in message or "AWS_SECRET_ACCESS_KEY" in message
    assert (checkout / ".dvc" / "config").read_text() == COMMITTED


def test_url__local_config_may_contain_a_secret(checkout: Path) -> None:
    remote_url.check_url("ssh://me:hunter2@host/x", local=True)
    assert remote_url.mask_secrets("ssh://me:hunter2@host/x?a=b") == "ssh://me:***@host/x?***"
    assert "config.local" in (PROJECT / ".dvc" / ".gitignore").read_text()


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [("/srv/x", "http://host:9000"), ("s3://bucket/x", "host:9000"), ("s3://bucket/x", "http://me:hunter2@host:9000")],
)
def test_endpoint__needs_s3_and_contains_no_secret(checkout: Path, url: str, endpoint: str) -> None:
    message = error_message(lambda: command.configure_remote(url, endpoint=endpoint))
    assert message.startswith("--endpoint=")
    assert "hunter2" not in message


def test_path__is_probed_and_written_by_dvc(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc.config import Config

    command.configure_remote(show=True)
    assert "no remote is set" in capsys.readouterr().out
    monkeypatch.chdir(checkout)
    command.configure_remote("../store", name="Storage")
    store = tmp_path / "store"
    message = capsys.readouterr().out
    assert message.startswith(
        f"storage: {store}, verify true, by default (.dvc/config); wrote, read and deleted a probe "
    )
    assert list(store.iterdir()) == []
    settings = Config(str(checkout / ".dvc"))
    assert settings["core"] | {"remote": "storage", "analytics": False} == settings["core"]
    assert settings["remote"]["storage"]["url"] == str(store)
    assert settings["remote"]["storage"]["verify"] is True
    written = (checkout / ".dvc" / "config").read_text()
    assert "url = ../../store" in written  # relative, so that it works in another clone
    command.configure_remote(show=True)
    assert message.startswith(capsys.readouterr().out.strip())


def test_path__rejects_folders_in_the_project(checkout: Path) -> None:
    assert "outside" in error_message(lambda: command.configure_remote(str(checkout / "store")))


def test_probe__failure_changes_nothing(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = error_message(lambda: command.configure_remote(str(tmp_path / "file" / "store")))
    assert f"{tmp_path / 'file'} is not a folder. Nothing was changed. Check the path" in message
    assert (checkout / ".dvc" / "config").read_text() == COMMITTED


def test_probe__host_never_responds(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        message = error_message(lambda: command.configure_remote(f"ssh://127.0.0.1:{silent.getsockname()[1]}/x"))
    assert "no response within" in message
    assert (checkout / ".dvc" / "config").read_text() == COMMITTED


def test_local__keeps_the_committed_file_and_takes_precedence(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.configure_remote(str(tmp_path / "team"))
    committed = (checkout / ".dvc" / "config").read_text()
    command.configure_remote(str(tmp_path / "mine"), name="mine", local=True)
    assert (checkout / ".dvc" / "config").read_text() == committed
    assert "mine: " in capsys.readouterr().out.splitlines()[-1]
    local_config = checkout / ".dvc" / "config.local"
    assert str(tmp_path / "mine") in local_config.read_text()
    assert local_config.stat().st_mode & 0o777 == 0o600


def test_local__conflicting_default_is_an_error(checkout: Path, tmp_path: Path) -> None:
    command.configure_remote(str(tmp_path / "mine"), name="mine", local=True)
    message = error_message(lambda: command.configure_remote(str(tmp_path / "team")))
    assert "dvc remote remove --local mine" in message
    assert (checkout / ".dvc" / "config").read_text() == COMMITTED


def test_local__other_scheme_needs_another_name(checkout: Path, tmp_path: Path) -> None:
    (checkout / ".dvc" / "config").write_text(
        "[core]\n    remote = storage\n['remote \"storage\"']\n    url = s3://bucket/x\n    region = eu-north-1\n"
    )
    assert "Choose another --name" in error_message(
        lambda: command.configure_remote(str(tmp_path / "mine"), local=True)
    )
    assert not (checkout / ".dvc" / "config.local").exists()
    command.configure_remote(str(tmp_path / "mine"), name="mine", local=True)


def test_configure__keeps_other_options_of_the_same_scheme(checkout: Path, tmp_path: Path) -> None:
    from dvc.config import Config

    command.configure_remote(str(tmp_path / "old"))
    settings = Config(str(checkout / ".dvc"))
    with settings.edit("repo") as edited:
        edited["remote"]["storage"]["jobs"] = "3"
    command.configure_remote(str(tmp_path / "new"))
    settings.load()
    assert settings["remote"]["storage"]["jobs"] == 3
    assert settings["remote"]["storage"]["url"] == str(tmp_path / "new")


def test_command_line__error_is_one_line_and_exit_code_2() -> None:
    arguments = [sys.executable, "-m", "medtune", "remote", "gs://bucket/x"]
    process = subprocess.run(arguments, cwd=PROJECT, capture_output=True, text=True)
    assert process.returncode == 2, process.stderr
    assert process.stderr.startswith("error: gs://bucket/x: ")
    assert len(process.stderr.splitlines()) == 1
