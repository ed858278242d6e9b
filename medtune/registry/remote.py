"""Configuration of the DVC remote. A remote is tested before it becomes the default remote."""

import os
import re
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from medtune.config.errors import InputError, show_value
from medtune.config.project import PROJECT
from medtune.registry.remote_url import check_url, mask_secrets
from medtune.runtime import console
from medtune.serving.one_line import first_line

if TYPE_CHECKING:
    from dvc.config import Config

TIMEOUT_S = 60.0  # long enough to type a passphrase
UNCHANGED = ". Nothing was changed. "


def configure_remote(
    url: str | None = None,
    name: str = "storage",
    endpoint: str | None = None,
    local: bool = False,
    show: bool = False,
) -> None:
    """Set the default DVC remote. DVC then verifies every file that it pulls from this remote.

    The remote is set only if a small file can be written, read back and deleted there.

    Args:
        url: path or URL of the remote.
        name: name of the remote.
        endpoint: address of an S3 server other than AWS.
        local: True to write to .dvc/config.local, which is not committed.
        show: True to print the current remote and change nothing.

    Raises:
        InputError: there is no .dvc folder, the URL or name is invalid, or a small file cannot be written, read or
            deleted there.
    """
    config = _dvc_config()
    if show:
        console.info(_describe_default(config))
        return
    if not url:
        raise InputError(
            "argument URL is missing. Name a folder, ssh://host/path or s3://bucket/path, or use --show to print the "
            "current remote"
        )
    if not re.fullmatch(r"[\w-]+", name):
        raise InputError(f"--name={show_value(name)}: expected letters, digits, - and _ only")
    check_url(url, endpoint, local)
    name, level = name.lower(), "local" if local else "repo"
    options = {"url": os.path.expanduser(url), "verify": "true", **({"endpointurl": endpoint} if endpoint else {})}
    seconds = probe_remote(_merged_config(config, level, name, options), name)
    with config.edit(level) as edited:
        _set_default(edited, name, options)
    if local:
        os.chmod(config.files[level], 0o600)  # the file may contain a password
    console.info(f"{_describe_default(config)}; wrote, read and deleted a probe there in {seconds:.1f} s")


def probe_remote(settings: dict[str, Any], name: str) -> float:
    """Write a small file to a remote, read it back and delete it.

    Args:
        settings: merged DVC configuration.
        name: name of the remote.

    Returns:
        Duration in seconds.

    Raises:
        InputError: a step failed, or the remote did not respond.
    """
    begin, failed = time.monotonic(), list[str]()

    def attempt() -> None:
        step = "connect"
        try:
            from dvc.fs import get_cloud_fs

            cls, options, folder = get_cloud_fs(settings, name=name)
            fs, content = cls(**options), secrets.token_bytes(64)
            path = fs.join(folder, f"probe-{secrets.token_hex(8)}")
            step = "write"
            fs.makedirs(folder, exist_ok=True)
            fs.pipe_file(path, content)
            step = "read"
            if fs.cat_file(path) != content:
                raise ValueError("the content differs")
            step = "delete"
            fs.remove(path)
        except Exception as error:  # plugins and their clients raise errors of any type
            failed.append(f"cannot {step}: {mask_secrets(_reason(error))}")

    # In a thread, because DVC waits half an hour for a host that never responds.
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    if thread.is_alive():
        failed.append(f"no response within {TIMEOUT_S:.0f} s")
    if failed:
        url = mask_secrets(settings["remote"][name]["url"])
        is_url = "://" in url
        fix = f"Check the {'URL, the connection' if is_url else 'path'} and your access rights"
        files = [] if is_url else [parent for parent in Path(url).parents if parent.exists() and not parent.is_dir()]
        problem = f"{files[0]} is not a folder" if files else failed[0]
        raise InputError(f"{url}: {problem}{UNCHANGED}{fix}")
    return time.monotonic() - begin


def _reason(error: Exception) -> str:
    """Return the text of an error of the operating system, or the first line of another error with its type."""
    text = error.strerror if isinstance(error, OSError) else None
    return text or first_line(error, with_type=True)


def default_remote() -> tuple[dict[str, Any], str | None]:
    """Read the DVC configuration.

    Returns:
        Merged configuration, and the name of the default remote or None.

    Raises:
        InputError: there is no .dvc folder, or its configuration is invalid.
    """
    settings = _dvc_config().read()
    name = settings["core"].get("remote")
    return settings, name if name in settings["remote"] else None


def _dvc_config() -> "Config":
    folder = PROJECT / ".dvc"
    if not folder.is_dir():
        raise InputError(f"{PROJECT}: no .dvc folder. Run `dvc init`, or use a git clone")
    from dvc.config import Config, ConfigError

    try:
        return Config(str(folder))
    except ConfigError as error:
        raise InputError(f"{folder}: {error}") from error


def _set_default(settings: dict[str, Any], name: str, options: dict[str, str]) -> None:
    """Set the default remote. Existing options are kept if the URL scheme stays the same."""
    known = settings["remote"].get(name, {})
    same_scheme = urlsplit(known.get("url", "")).scheme == urlsplit(options["url"]).scheme
    settings["remote"][name] = {**known, **options} if same_scheme else options
    settings["core"]["remote"] = name


def _merged_config(config: "Config", level: str, name: str, options: dict[str, str]) -> dict[str, Any]:
    """Return the DVC configuration with the new remote, merged from all files. Later files take precedence."""
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
            f".dvc/config.local: remote {first!r} takes precedence. Run `dvc remote remove --local {first}`, or add "
            "--local"
        )
    try:
        config.validate(settings)
    except ConfigError as error:
        raise InputError(
            f"{mask_secrets(options['url'])}: conflicts with the options of remote {name!r} ({error}). "
            "Choose another --name"
        ) from error
    return settings


def _describe_default(config: "Config") -> str:
    """Return one line about the default remote and the file that defines it."""
    settings, name = default_remote()
    if name is None:
        return "no remote is set. Set one with `medtune remote URL`"
    level = [level for level in config.files if config.load_one(level)["core"].get("remote")][-1]
    file, section = Path(config.files[level]), settings["remote"][name]
    location = file.relative_to(PROJECT) if file.is_relative_to(PROJECT) else file
    verified = str(section.get("verify", "false")).lower()
    return f"{name}: {mask_secrets(section['url'])}, verify {verified}, by default ({location})"
