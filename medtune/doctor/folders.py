"""The folders a run writes to: whether a file can be written there, and whether there is room."""

import errno
import os
import secrets
import shutil
from pathlib import Path

from medtune.config.project import PROJECT
from medtune.doctor.result import Finding, Job, ok, size, warning, wrong

BLOCK = 64 * 1024
# Beside what is estimated: reports, W&B's and Prefect's own files, logs.
SPARE = 200e6
LITTLE = 2e9
ELSEWHERE = {
    "data/prepared": "--out DIR puts it elsewhere",
    "artifacts": "--out DIR puts it elsewhere",
    "cache": "MEDTUNE_CACHE=DIR puts it elsewhere",
    "handoff": "handoff.target puts it elsewhere",
}


def places(job: Job) -> dict[str, Path]:
    """The folders by name; a handoff target that is a URL is none."""
    found = {"data/prepared": job.paths.prepared, "artifacts": job.paths.out / "artifacts", "cache": job.paths.cache}
    target = job.params.handoff.target
    return found if "://" in target else {**found, "handoff": PROJECT / Path(target).expanduser()}


def write(job: Job) -> list[Finding]:
    """A line a folder: a file was written there and deleted, or why not."""
    return [_write(name, folder) for name, folder in places(job).items()]


def disk(job: Job) -> list[Finding]:
    """A line a disk: free space against what the run is estimated to put there."""
    disks: dict[int, list[str]] = {}
    folders = places(job)
    for name, folder in folders.items():
        disks.setdefault(existing(folder).stat().st_dev, []).append(name)
    return [_room(job, names, folders) for names in disks.values()]


def existing(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def probe(folder: Path) -> None:
    """Writes a file in `folder`, or in the nearest one above it that is there, and deletes it.

    Raises:
        OSError: that is not possible.
    """
    place = existing(folder)
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{place} is a file")
    file = place / f".doctor-{secrets.token_hex(8)}"
    stream = file.open("xb")
    try:
        with stream:
            # A file system that is full lets an empty file be made, and takes a part of what is written.
            stream.write(secrets.token_bytes(BLOCK))
            stream.flush()
            os.fsync(stream.fileno())
    finally:
        file.unlink()


def _write(name: str, folder: Path) -> Finding:
    label = f"write {name}"
    try:
        probe(folder)
    except OSError as error:
        mend = {
            errno.EROFS: "mount it writable",
            errno.EACCES: "give this user the right to write there",
            errno.EPERM: "give this user the right to write there",
            errno.ENOSPC: "free space there (docs/operation.md, `No space left`)",
            errno.EDQUOT: "free space there, or ask for a larger quota",
        }.get(error.errno or 0, "make it a folder that can be written")
        return wrong(f"{folder}: {error.strerror}", f"{mend}, or {ELSEWHERE[name]}", label)
    return ok(f"{folder}", label)


def _room(job: Job, names: list[str], folders: dict[str, Path]) -> Finding:
    place = existing(folders[names[0]])
    place = place if place.is_dir() else place.parent
    label = f"disk of {names[0]}" if len(names) < len(folders) else "disk"
    free, facts = shutil.disk_usage(place).free, os.statvfs(place)
    needs = job.facts.get("needs", {})
    wanted = sum(count for folder, count in needs.items() if existing(folder).stat().st_dev == place.stat().st_dev)
    told = f"about {size(wanted)} needed (estimate)" if wanted else "what is needed is not known"
    found = f"{size(free)} free for {', '.join(names)}; {told}"
    todo = f"free space (docs/operation.md), lower frozen.store_gb, or {ELSEWHERE[names[0]]}"
    if facts.f_files and facts.f_favail < 1000:
        return wrong(f"{found}; only {facts.f_favail} files more can be made", todo, label)
    if free < wanted + SPARE:
        return wrong(found, todo, label)
    return warning(found, todo, label) if free < max(LITTLE, 1.5 * wanted) else ok(found, label)
