"""What may be a DVC remote's URL: a path or a scheme whose plugin is installed, with nothing in it to keep secret."""

import re
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from medtune.config.errors import InputError, suggestion
from medtune.config.project import PROJECT


def check_url(url: str, endpoint: str | None = None, local: bool = False) -> None:
    """Refuses what cannot be a remote, and what must not be committed. Imports DVC, and the scheme's plugin.

    Args:
        url: as the user gave it.
        endpoint: address of the S3 server, if not Amazon's.
        local: whether it goes into the file that is not committed.

    Raises:
        InputError: neither a path outside the checkout nor a URL that DVC knows; its plugin is not installed; a
            secret in what would be committed.
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
        raise InputError(
            f"{shown}: {parts.scheme}:// is none that DVC can verify{suggestion(parts.scheme, known)}; "
            f"give a path or one of {', '.join(known)}"
        )
    if not parts.hostname:
        raise InputError(f"{shown} names no host or bucket: {parts.scheme}://NAME/PATH")
    if parts.scheme == "s3" and "@" in parts.netloc:
        raise InputError(
            f"{shown}: S3 keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, not from the URL"
        )
    if not local and has_secret(parts):
        raise InputError(
            f"{shown}: the secret in it would be committed with .dvc/config; use a key, an agent or environment "
            "variables instead, or keep the URL in this clone alone with --local"
        )
    try:
        registry[parts.scheme]
    except ImportError as error:
        raise InputError(f"{shown}: {error}") from error


def mask_secrets(url: str) -> str:
    """`url` with its password and its query, where tokens stand, as ***."""
    return re.sub(r"\?.*", "?***", re.sub(r"(?<=//)([^/@]*?):[^/]*@", r"\1:***@", url))


def has_secret(parts: SplitResult) -> bool:
    """True where a URL carries a password or a token."""
    return parts.password is not None or bool(parts.query)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError as error:
        raise InputError(f"{mask_secrets(url)} is no URL: {error}") from error
    return parts


def _check_endpoint(endpoint: str, scheme: str) -> None:
    parts = _split(endpoint)
    if scheme != "s3":
        raise InputError(f"--endpoint is {mask_secrets(endpoint)}, which goes with an s3:// URL only")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise InputError(f"--endpoint is {mask_secrets(endpoint)}: give http(s)://HOST:PORT and nothing more")


def _check_path(path: str) -> None:
    if found := re.match(r"([\w.-]+@)?[\w.-]+:", path):
        meant = f"ssh://{path.replace(':', '/', 1)}" if found[1] else path.replace(":", "://", 1)
        raise InputError(f"{path} is neither a path nor a URL (did you mean {re.sub('(?<!:)//+', '/', meant)}?)")
    if Path(path).expanduser().resolve().is_relative_to(PROJECT):
        raise InputError(f"{path} lies in this checkout and would be lost with it: name a folder outside {PROJECT}")
