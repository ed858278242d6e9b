"""Validation of the URL of a DVC remote."""

import re
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from medtune.config.errors import InputError, suggestion
from medtune.config.project import PROJECT


def check_url(url: str, endpoint: str | None = None, local: bool = False) -> None:
    """Raise if a URL is not valid for a remote or contains a secret. Imports DVC and the plugin of the scheme.

    Args:
        url: path or URL, as the user wrote it.
        endpoint: address of an S3 server other than AWS.
        local: True if the URL is written to a file that is not committed.

    Raises:
        InputError: the path, URL or endpoint is invalid, or the path is in the project. The scheme is unknown, or its
            plugin is not installed. The URL has a secret that would be committed.
    """
    shown, parts = mask_secrets(url), _split(url)
    if endpoint is not None:
        _check_endpoint(endpoint, parts.scheme)
    if "://" not in url:
        _check_path(url)
        return
    from dvc.config_schema import REMOTE_SCHEMAS
    from dvc.fs import registry

    known = sorted(scheme for scheme, schema in REMOTE_SCHEMAS.items() if scheme and "verify" in schema)
    if parts.scheme not in known:
        reason = "DVC has no verified transfer for" if parts.scheme in REMOTE_SCHEMAS else "unknown scheme"
        raise InputError(
            f"{shown}: {reason} {parts.scheme}://{suggestion(parts.scheme, known)}. Use a path or one of "
            f"{', '.join(known)}"
        )
    if not parts.hostname:
        raise InputError(f"{shown}: no host or bucket. Use {parts.scheme}://NAME/PATH")
    if parts.scheme == "s3" and "@" in parts.netloc:
        raise InputError(
            f"{shown}: S3 keys are not allowed here. Use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    if not local and has_secret(parts):
        raise InputError(
            f"{shown}: the secret would be committed with .dvc/config. Use a key, an agent or environment variables. "
            "Or add --local to write to a file that is not committed"
        )
    try:
        registry[parts.scheme]
    except ImportError as error:
        raise InputError(f"{shown}: {error}") from error


def mask_secrets(url: str) -> str:
    """Return `url` with *** instead of its password and its query, which may contain tokens."""
    return re.sub(r"\?.*", "?***", re.sub(r"(?<=//)([^/@]*?):[^/]*@", r"\1:***@", url))


def has_secret(parts: SplitResult) -> bool:
    """Return True if a URL contains a password or a query."""
    return parts.password is not None or bool(parts.query)


def _split(url: str) -> SplitResult:
    problem = "it has brackets without an IPv6 address"
    try:
        parts = urlsplit(url)
        problem = "its port is not a number from 0 to 65535"
        _ = parts.port
    except ValueError as error:
        raise InputError(f"{mask_secrets(url)}: not a valid URL: {problem}. Correct the URL") from error
    return parts


def _check_endpoint(endpoint: str, scheme: str) -> None:
    parts = _split(endpoint)
    if scheme != "s3":
        raise InputError(f"--endpoint={mask_secrets(endpoint)}: applies to s3:// URLs only. Remove it")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise InputError(
            f"--endpoint={mask_secrets(endpoint)}: expected http(s)://HOST:PORT without a user name and a query string"
        )


def _check_path(path: str) -> None:
    if match := re.match(r"([\w.-]+@)?[\w.-]+:", path):
        guess = f"ssh://{path.replace(':', '/', 1)}" if match[1] else path.replace(":", "://", 1)
        raise InputError(f"{path}: neither a path nor a URL (did you mean {re.sub('(?<!:)//+', '/', guess)}?)")
    if Path(path).expanduser().resolve().is_relative_to(PROJECT):
        raise InputError(f"{path}: the folder is in the project. Use a folder outside {PROJECT}")
