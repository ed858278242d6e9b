"""The DVC remote, where `dvc push` and `dvc pull` keep data and results; tested before it is set."""

import os
import re
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.registry.remote_url import check_url, mask_secrets
from medtune.runtime import console
from medtune.serving.one_line import first_line

if TYPE_CHECKING:
    from dvc.config import Config

TIMEOUT_S = 60.0  # long enough to type a passphrase in


def configure_remote(
    url: str | None = None,
    name: str = "storage",
    endpoint: str | None = None,
    local: bool = False,
    show: bool = False,
) -> None:
    """Keep data and results at URL: DVC's default remote, every file verified when it is pulled.

    Refused, and nothing changed, where a small file cannot be written there, read back and deleted.
    """
    config = _dvc_config()
    if show:
        console.info(_describe_default(config))
        return
    if not url:
        raise InputError("no URL: name a folder, ssh://host/path or s3://bucket/path; --show says what is set")
    if not re.fullmatch(r"[\w-]+", name):
        raise InputError(f"--name is {name!r}: letters, digits, - and _ only")
    check_url(url, endpoint, local)
    name, level = name.lower(), "local" if local else "repo"
    options = {"url": os.path.expanduser(url), "verify": "true", **({"endpointurl": endpoint} if endpoint else {})}
    seconds = probe_remote(_merged_config(config, level, name, options), name)
    with config.edit(level) as edited:
        _set_default(edited, name, options)
    if local:
        os.chmod(config.files[level], 0o600)  # a password may stand in it
    console.info(f"{_describe_default(config)}; wrote, read and deleted a probe there in {seconds:.1f} s")


def probe_remote(settings: dict[str, Any], name: str) -> float:
    """Seconds it took to write a small file at a remote, read it back and delete it.

    Args:
        settings: DVC's configuration, merged.
        name: the remote's name in it.

    Raises:
        InputError: one of these did not work, or there was no answer.
    """
    begin, failed = time.monotonic(), list[str]()

    def attempt() -> None:
        step = "connect"
        try:
            from dvc.fs import get_cloud_fs

            cls, options, folder = get_cloud_fs(settings, name=name)
            fs, text = cls(**options), secrets.token_bytes(64)
            path = fs.join(folder, f"probe-{secrets.token_hex(8)}")
            step = "write"
            fs.makedirs(folder, exist_ok=True)
            fs.pipe_file(path, text)
            step = "read"
            if fs.cat_file(path) != text:
                raise ValueError("other bytes came back")
            step = "delete"
            fs.remove(path)
        except Exception as error:  # of whatever type a plugin and its client raise
            failed.append(f"cannot {step}: {mask_secrets(first_line(error, with_type=True))}")

    # In a thread, for a host that never answers would hold DVC for half an hour.
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    if thread.is_alive():
        failed.append(f"no answer within {TIMEOUT_S:.0f} s")
    if failed:
        raise InputError(f"{mask_secrets(settings['remote'][name]['url'])}: {failed[0]}; nothing was changed")
    return time.monotonic() - begin


def default_remote() -> tuple[dict[str, Any], str | None]:
    """DVC's configuration, merged, and the name of the default remote in it; None where none is set.

    Raises:
        InputError: there is no .dvc folder, or what it says is wrong.
    """
    settings = _dvc_config().read()
    name = settings["core"].get("remote")
    return settings, name if name in settings["remote"] else None


def _dvc_config() -> "Config":
    folder = PROJECT / ".dvc"
    if not folder.is_dir():
        raise InputError(f"{PROJECT} has no .dvc folder: run this in a clone made by git")
    from dvc.config import Config, ConfigError

    try:
        return Config(str(folder))
    except ConfigError as error:
        raise InputError(f"{folder}: {error}") from error


def _set_default(settings: dict[str, Any], name: str, options: dict[str, str]) -> None:
    """Makes `name` the default remote; other options it has are kept where it stays the same kind."""
    known = settings["remote"].get(name, {})
    same = urlsplit(known.get("url", "")).scheme == urlsplit(options["url"]).scheme
    settings["remote"][name] = {**known, **options} if same else options
    settings["core"]["remote"] = name


def _merged_config(config: "Config", level: str, name: str, options: dict[str, str]) -> dict[str, Any]:
    """All levels of DVC's configuration as they will be: a later one comes first, and may hold the credentials."""
    from dvc.config import ConfigError, merge

    settings: dict[str, Any] = {}
    for other_level in config.files:
        options_at_level = config.load_one(other_level)
        if other_level == level:
            _set_default(options_at_level, name, options)
        merge(settings, options_at_level)
    if settings["core"]["remote"] != name or settings["remote"][name]["url"] != options["url"]:
        first = settings["core"]["remote"]
        raise InputError(
            f".dvc/config.local sets {first!r}, which comes first: `dvc remote remove --local {first}`, or add --local"
        )
    try:
        config.validate(settings)
    except ConfigError as error:
        raise InputError(
            f"{mask_secrets(options['url'])} does not go with what {name!r} is already: choose another --name ({error})"
        ) from error
    return settings


def _describe_default(config: "Config") -> str:
    """One line: the default remote, and the file that says so."""
    settings, name = default_remote()
    if name is None:
        return "no remote is set: medtune remote URL"
    level = [level for level in config.files if config.load_one(level)["core"].get("remote")][-1]
    file, section = Path(config.files[level]), settings["remote"][name]
    where = file.relative_to(PROJECT) if file.is_relative_to(PROJECT) else file
    verified = str(section.get("verify", "false")).lower()
    return f"{name}: {mask_secrets(section['url'])}, verify {verified}, by default ({where})"
