"""HTTP downloads that resume after an interruption and verify a checksum.

A partial file is named `<name>.part`. Only a complete file gets its name.
"""

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
    """Download a file, unless it exists.

    After an interruption, the next attempt or run requests only the rest (HTTP Range), if the server still has the
    same version of the file.

    Args:
        url: http or https address.
        target: path of the file.
        md5: published checksum, hexadecimal; None if unknown.
        pause_s: seconds before the second attempt. The pause doubles before every further attempt.

    Returns:
        The path of the file.

    Raises:
        InputError: the address is wrong, all `ATTEMPTS` attempts fail, or the checksum is wrong. A new file with a
            wrong checksum is deleted, an existing file is not.
    """
    if target.exists():
        if md5 is not None and (actual := _md5(target)) != md5.lower():
            raise InputError(f"{target}: md5 is {actual}, expected {md5}. Delete the file to download it again")
        return target
    if not url.startswith(("http://", "https://")):
        raise InputError(f"download address {url!r}: must begin with http:// or https://")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    for attempt in range(1, ATTEMPTS + 1):
        reason = _transfer(url, part)
        if reason is None:
            break
        if attempt == ATTEMPTS:
            raise InputError(f"{url}: {reason}. Run again to resume, or download the file to {target} yourself")
        info(f"download: {reason}; attempt {attempt + 1} of {ATTEMPTS}")
        time.sleep(pause_s * 2 ** (attempt - 1))
    if md5 is not None and (actual := _md5(part)) != md5.lower():
        part.unlink()
        _version_file(part).unlink(missing_ok=True)
        raise InputError(f"{url}: md5 is {actual}, published is {md5}. The file was deleted; run again")
    part.replace(target)
    _version_file(part).unlink(missing_ok=True)
    return target


def _transfer(url: str, part: Path) -> str | None:
    """Download the file, or the rest of it, to `part`. Return None, or the reason why `part` is not complete."""
    import httpx

    received = part.stat().st_size if part.exists() else 0
    version = _version_file(part).read_text(encoding="utf-8") if _version_file(part).exists() else ""
    headers = {"Range": f"bytes={received}-", "If-Range": version} if received and version else {}
    # No compression, because Range counts the bytes of the file.
    headers["Accept-Encoding"] = "identity"
    try:
        with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=TIMEOUT_S) as answer:
            if answer.status_code == 416 and answer.headers.get("content-range") == f"bytes */{received}":
                return None
            if answer.status_code in (416, 429) or answer.status_code >= 500:
                if answer.status_code == 416:
                    part.unlink()
                return f"the server answered {answer.status_code}"
            if answer.status_code not in (200, 206):
                raise InputError(f"{url}: the server answered {answer.status_code}. Check the address")
            resumed = answer.status_code == 206
            if resumed and not answer.headers.get("content-range", "").startswith(f"bytes {received}-"):
                part.unlink()
                return "the server sent another range than requested"
            with atomic_write(_version_file(part)) as file:
                file.write_text(_strong_validator(answer.headers), encoding="utf-8")
            length = answer.headers.get("content-length")
            total = (int(length) if length else 0) + (received if resumed else 0)
            with (
                part.open("ab" if resumed else "wb") as out,
                progress(f"download {part.stem}", total / 1e6, "MB") as advance,
            ):
                advance(received / 1e6 if resumed else 0)
                for chunk in answer.iter_raw():  # without a chunk size, so that an interruption loses no received bytes
                    out.write(chunk)
                    advance(len(chunk) / 1e6)
            size = part.stat().st_size
            return None if not total or size == total else f"received {size:,} of {total:,} bytes"
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise InputError(f"download address {url!r}: not a valid address. Correct it") from None
    except httpx.HTTPError as error:
        return f"connection lost ({type(error).__name__}: {error})".replace(": )", ")")


def _version_file(part: Path) -> Path:
    """Return the file that stores which version of the file on the server `part` belongs to."""
    return part.with_name(part.name + ".version")


def _strong_validator(headers: Mapping[str, str]) -> str:
    """Return the version of the file for the header If-Range, or an empty string if the server states none.

    A weak ETag (W/) is not allowed there (RFC 9110, 13.1.5).
    """
    etag = headers.get("etag", "")
    return etag if etag and not etag.startswith("W/") else headers.get("last-modified", "")


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
