"""Fetches a file over HTTP: resumed where it broke off, checked, and renamed into place only when whole."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

from medtune.config.errors import InputError
from medtune.runtime.artifact import atomic_write
from medtune.runtime.console import info
from medtune.runtime.progress import progress

ATTEMPTS = 5
TIMEOUT_S = 30.0


def download(url: str, target: Path, md5: str | None = None, pause_s: float = 1.0) -> Path:
    """`target`, holding what lies at `url`; returned at once where it is there already.

    What has arrived is kept in `<target>.part`; the next attempt, or the next run, asks for the rest (HTTP Range,
    only if the server still has the same version).

    Args:
        url: http or https address.
        target: where the file goes.
        md5: published checksum, hexadecimal; None where none is known.
        pause_s: seconds before the second attempt; doubles with each further one.

    Raises:
        InputError: no such address, no answer after `ATTEMPTS`, or the checksum is wrong (the file is then deleted).
    """
    if target.exists():
        if md5 is not None and (found := _md5(target)) != md5.lower():
            raise InputError(f"{target}: md5 is {found}, expected {md5}; delete the file to fetch it again")
        return target
    if not url.startswith(("http://", "https://")):
        raise InputError(f"download address {url!r}: write http:// or https://")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    for attempt in range(1, ATTEMPTS + 1):
        reason = _transfer(url, part)
        if reason is None:
            break
        if attempt == ATTEMPTS:
            raise InputError(f"{url}: {reason}; run again to resume, or put the file at {target} yourself")
        info(f"download: {reason}; attempt {attempt + 1} of {ATTEMPTS}")
        time.sleep(pause_s * 2 ** (attempt - 1))
    if md5 is not None and (found := _md5(part)) != md5.lower():
        part.unlink()
        _version_file(part).unlink(missing_ok=True)
        raise InputError(f"{url}: md5 is {found}, published is {md5}; the file was deleted, run again")
    part.replace(target)
    _version_file(part).unlink(missing_ok=True)
    return target


def _transfer(url: str, part: Path) -> str | None:
    """None when `part` is complete, else why the transfer broke off."""
    import httpx

    have = part.stat().st_size if part.exists() else 0
    version = _version_file(part).read_text(encoding="utf-8") if _version_file(part).exists() else ""
    headers = {"Range": f"bytes={have}-", "If-Range": version} if have and version else {}
    # Bytes must count as they lie on disk, so no transport compression.
    headers["Accept-Encoding"] = "identity"
    try:
        with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=TIMEOUT_S) as answer:
            if answer.status_code == 416 and answer.headers.get("content-range") == f"bytes */{have}":
                return None
            if answer.status_code in (416, 429) or answer.status_code >= 500:
                if answer.status_code == 416:
                    part.unlink()
                return f"the server answered {answer.status_code}"
            if answer.status_code not in (200, 206):
                raise InputError(f"{url}: the server answered {answer.status_code}; check the address")
            resumed = answer.status_code == 206
            if resumed and not answer.headers.get("content-range", "").startswith(f"bytes {have}-"):
                part.unlink()
                return "the server sent another part than asked for"
            with atomic_write(_version_file(part)) as file:
                file.write_text(_strong_validator(answer.headers), encoding="utf-8")
            length = answer.headers.get("content-length")
            total = (int(length) if length else 0) + (have if resumed else 0)
            with (
                part.open("ab" if resumed else "wb") as out,
                progress(f"download {part.stem}", total / 1e6, "MB") as go,
            ):
                go(have / 1e6 if resumed else 0)
                for chunk in answer.iter_raw():  # as they arrive: what a larger chunk waits for is lost in a break
                    out.write(chunk)
                    go(len(chunk) / 1e6)
            got = part.stat().st_size
            return None if not total or got == total else f"{got:,} of {total:,} bytes arrived"
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise InputError(f"download address {url!r}: {error}") from None
    except httpx.HTTPError as error:
        return f"connection broke ({type(error).__name__}: {error})".replace(": )", ")")


def _version_file(part: Path) -> Path:
    return part.with_name(part.name + ".version")


def _strong_validator(headers: Mapping[str, str]) -> str:
    """A strong validator for If-Range, or nothing: weak ones may not be used with it (RFC 9110, 13.1.5)."""
    etag = headers.get("etag", "")
    return etag if etag and not etag.startswith("W/") else headers.get("last-modified", "")


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
