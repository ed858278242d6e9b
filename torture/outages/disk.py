"""Disks that are full, closed, or break off in the middle of a file."""

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

SIZE_MB = 96
FILLER = ".filler"


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """A disk in memory at `place`, with what lay there copied onto it; copied back at the end."""
    kept = place.with_name(f"{place.name}-kept")
    if place.exists():
        place.rename(kept)
    place.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", f"size={SIZE_MB}m", "none", str(place))
    try:
        if kept.exists():
            shutil.copytree(kept, place, dirs_exist_ok=True)
            shutil.rmtree(kept)
        yield
        shutil.copytree(place, kept, dirs_exist_ok=True)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        place.rmdir()
        if kept.exists():
            kept.rename(place)


@contextlib.contextmanager
def filled(place: Path, free_kb: int) -> Iterator[None]:
    """All but `free_kb` of the disk at `place` taken."""
    filler = place / FILLER
    state = os.statvfs(place)
    take = state.f_bavail * state.f_frsize - free_kb * 1024
    with filler.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(take, 1))
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def read_only(place: Path) -> Iterator[None]:
    """`place` may not be written; permissions alone would not stop root."""
    place.mkdir(parents=True, exist_ok=True)
    _mount("--bind", str(place), str(place))
    _mount("-o", "remount,ro,bind", str(place))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextlib.contextmanager
def short_files(limit: int) -> Iterator[None]:
    """No file may grow past `limit` bytes: a write fails in its middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)
