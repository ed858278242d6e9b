"""Harm done to one file, and whether who reads it sees that before he uses it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medtune.config.errors import InputError
from medtune.serving.manifest import BundleError

HARMS = ("flip", "truncate", "delete")
Draw = np.random.Generator


@dataclass(frozen=True)
class Place:
    """Files of one kind, and who reads them.

    Attributes:
        name: what they are.
        files: they.
        use: (file, harm) -> None where the harm was seen, else what was done with it. One of the errors that a user
            is told in one line is seen, too.
    """

    name: str
    files: Sequence[Path]
    use: Callable[[Path, str], str | None]


def inflict(place: Place, draw: Draw) -> tuple[str, str | None]:
    """What was done to one file of `place`, and what went wrong; the file is then as it was."""
    file = place.files[int(draw.integers(len(place.files)))]
    harm = HARMS[int(draw.integers(len(HARMS)))]
    link = os.readlink(file) if file.is_symlink() else None
    content = link.encode() if link is not None else file.read_bytes()
    if harm == "truncate" and link is not None and len(content) < 2:
        harm = "delete"
    at = int(draw.integers(len(content))) if content else 0
    file.unlink()
    if harm != "delete":
        changed = content[:at] if harm == "truncate" else _flipped(content, at, int(draw.integers(8)))
        _write(file, changed, link is not None)
    try:
        fault = place.use(file, harm)
    except (InputError, BundleError, RuntimeError) as error:
        fault = None if "\n" not in str(error) else f"told in several lines: {error}"
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    file.unlink(missing_ok=True)
    _write(file, content, link is not None)
    return f"{place.name}: {harm} {file.name} at {at:,} of {len(content):,}", fault


def seen(what: bool, otherwise: str) -> str | None:
    """None where `what`, else the words."""
    return None if what else otherwise


def files_of(folder: Path) -> list[Path]:
    """Every file and link under `folder`."""
    return sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())


def _flipped(content: bytes, at: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[at] ^= 1 << bit
    return bytes(changed)


def _write(file: Path, content: bytes, link: bool) -> None:
    if not link:
        file.write_bytes(content)
    elif content and b"\0" not in content:  # a link cannot hold these: then there is none
        file.symlink_to(os.fsdecode(content))
