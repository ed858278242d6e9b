"""The folders a run writes to: whether a file can be written there, and whether there is room."""

import errno
import os
import secrets
import shutil
from pathlib import Path

from medtune.config.project import PROJECT
from medtune.doctor.check_result import CheckResult, Context, failure, format_size, ok, warning

PROBE_BYTES = 64 * 1024
# Beside what is estimated: reports, W&B's and Prefect's own files, logs.
RESERVE_BYTES = 200e6
LOW_BYTES = 2e9
HINTS = {
    "data/prepared": "--out DIR puts it elsewhere",
    "artifacts": "--out DIR puts it elsewhere",
    "cache": "MEDTUNE_CACHE=DIR puts it elsewhere",
    "handoff": "handoff.target puts it elsewhere",
}


def output_dirs(context: Context) -> dict[str, Path]:
    """The folders by name; a handoff target that is a URL is none."""
    folders = {
        "data/prepared": context.paths.prepared,
        "artifacts": context.paths.out / "artifacts",
        "cache": context.paths.cache,
    }
    target = context.params.handoff.target
    return folders if "://" in target else {**folders, "handoff": PROJECT / Path(target).expanduser()}


def check_write(context: Context) -> list[CheckResult]:
    """A line a folder: a file was written there and deleted, or why not."""
    return [_check_write(name, folder) for name, folder in output_dirs(context).items()]


def check_disk(context: Context) -> list[CheckResult]:
    """A line a disk: free space against what the run is estimated to put there."""
    disks: dict[int, list[str]] = {}
    folders = output_dirs(context)
    for name, folder in folders.items():
        disks.setdefault(nearest_existing(folder).stat().st_dev, []).append(name)
    return [_check_space(context, names, folders) for names in disks.values()]


def nearest_existing(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def check_writable(folder: Path) -> None:
    """Writes a file in `folder`, or in the nearest one above it that is there, and deletes it.

    Raises:
        OSError: that is not possible.
    """
    existing_dir = nearest_existing(folder)
    if not existing_dir.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{existing_dir} is a file")
    file = existing_dir / f".doctor-{secrets.token_hex(8)}"
    stream = file.open("xb")
    try:
        with stream:
            # A file system that is full lets an empty file be made, and takes a part of what is written.
            stream.write(secrets.token_bytes(PROBE_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
    finally:
        file.unlink()


def _check_write(name: str, folder: Path) -> CheckResult:
    label = f"write {name}"
    try:
        check_writable(folder)
    except OSError as error:
        fix = {
            errno.EROFS: "mount it writable",
            errno.EACCES: "give this user the right to write there",
            errno.EPERM: "give this user the right to write there",
            errno.ENOSPC: "free space there (docs/operation.md, `No space left`)",
            errno.EDQUOT: "free space there, or ask for a larger quota",
        }.get(error.errno or 0, "make it a folder that can be written")
        return failure(f"{folder}: {error.strerror}", f"{fix}, or {HINTS[name]}", label)
    return ok(f"{folder}", label)


def _check_space(context: Context, names: list[str], folders: dict[str, Path]) -> CheckResult:
    existing_dir = nearest_existing(folders[names[0]])
    existing_dir = existing_dir if existing_dir.is_dir() else existing_dir.parent
    label = f"disk of {names[0]}" if len(names) < len(folders) else "disk"
    free, facts = shutil.disk_usage(existing_dir).free, os.statvfs(existing_dir)
    needs = context.facts.get("needs", {})
    required = sum(
        count for folder, count in needs.items() if nearest_existing(folder).stat().st_dev == existing_dir.stat().st_dev
    )
    requirement = f"about {format_size(required)} needed (estimate)" if required else "what is needed is not known"
    message = f"{format_size(free)} free for {', '.join(names)}; {requirement}"
    fix = f"free space (docs/operation.md), lower frozen.feature_cache_gb, or {HINTS[names[0]]}"
    if facts.f_files and facts.f_favail < 1000:
        return failure(f"{message}; only {facts.f_favail} files more can be made", fix, label)
    if free < required + RESERVE_BYTES:
        return failure(message, fix, label)
    return warning(message, fix, label) if free < max(LOW_BYTES, 1.5 * required) else ok(message, label)
