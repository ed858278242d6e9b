"""Checks of the output folders: write permission and free disk space."""

import errno
import os
import secrets
import shutil
from pathlib import Path

from medtune.config.project import PROJECT
from medtune.doctor.check_result import CheckResult, Context, failure, format_size, ok, warning

PROBE_BYTES = 64 * 1024
# Space for files that the estimate does not contain: reports, logs, and files of W&B and Prefect.
RESERVE_BYTES = 200e6
LOW_BYTES = 2e9  # less free space causes a warning
HINTS = {
    "data/prepared": "use another --out DIR",
    "artifacts": "use another --out DIR",
    "cache": "set MEDTUNE_CACHE=DIR",
    "handoff": "change handoff.target",
}


def output_dirs(context: Context) -> dict[str, Path]:
    """Return the output folders by name. A model store (`handoff.target`) at a URL is omitted."""
    folders = {
        "data/prepared": context.paths.prepared,
        "artifacts": context.paths.out / "artifacts",
        "cache": context.paths.cache,
    }
    target = context.params.handoff.target
    return folders if "://" in target else {**folders, "handoff": PROJECT / Path(target).expanduser()}


def check_write(context: Context) -> list[CheckResult]:
    """Check that files can be written to the output folders. Return one line per folder."""
    return [_check_write(name, folder) for name, folder in output_dirs(context).items()]


def check_disk(context: Context) -> list[CheckResult]:
    """Compare the free space with the estimated need. Return one line per disk."""
    disks: dict[int, list[str]] = {}
    folders = output_dirs(context)
    for name, folder in folders.items():
        disks.setdefault(nearest_existing(folder).stat().st_dev, []).append(name)
    return [_check_space(context, names, folders) for names in disks.values()]


def nearest_existing(folder: Path) -> Path:
    """Return `folder` or its nearest existing parent."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def check_writable(folder: Path) -> None:
    """Write and delete a file in `folder` or its nearest existing parent.

    Args:
        folder: output folder, which may not exist yet.

    Raises:
        OSError: the file cannot be written.
        NotADirectoryError: a parent of the folder is a file.
    """
    existing_dir = nearest_existing(folder)
    if not existing_dir.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{existing_dir} is a file")
    file = existing_dir / f".doctor-{secrets.token_hex(8)}"
    stream = file.open("xb")
    try:
        with stream:
            # A full disk may accept an empty file or a part of the data, so the data is also flushed to the disk.
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
            errno.EACCES: "give this user write permission",
            errno.EPERM: "give this user write permission",
            errno.ENOSPC: "free disk space (docs/operation.md, `No space left`)",
            errno.EDQUOT: "free disk space, or ask for a larger quota",
        }.get(error.errno or 0, "make it a writable folder")
        return failure(f"{folder}: {error.strerror}", f"{fix}, or {HINTS[name]}", label)
    return ok(f"{folder}", label)


def _check_space(context: Context, names: list[str], folders: dict[str, Path]) -> CheckResult:
    """Check the disk that contains the folders `names`."""
    existing_dir = nearest_existing(folders[names[0]])
    existing_dir = existing_dir if existing_dir.is_dir() else existing_dir.parent
    label = f"disk of {names[0]}" if len(names) < len(folders) else "disk"
    free, facts = shutil.disk_usage(existing_dir).free, os.statvfs(existing_dir)
    needs = context.facts.get("needs", {})
    required = sum(
        count for folder, count in needs.items() if nearest_existing(folder).stat().st_dev == existing_dir.stat().st_dev
    )
    requirement = f"about {format_size(required)} needed (estimate)" if required else "requirement unknown"
    message = f"{format_size(free)} free for {', '.join(names)}; {requirement}"
    fix = f"free space (docs/operation.md), lower frozen.feature_cache_gb, or {HINTS[names[0]]}"
    if facts.f_files and facts.f_favail < 1000:
        return failure(f"{message}; only {facts.f_favail} more files possible (inodes)", fix, label)
    if free < required + RESERVE_BYTES:
        return failure(message, fix, label)
    return warning(message, fix, label) if free < max(LOW_BYTES, 1.5 * required) else ok(message, label)
