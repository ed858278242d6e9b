"""Disks that are full or read-only, and files that cannot grow, during a command."""

import ctypes
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.robustness.faults import Faults
from tests.robustness.outages.job import TRACEBACK, Completed, Job, damage, failure

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
TRAIN = "train --no-prefect"
OTHER_TRAIN = f"{TRAIN} --set frozen.epochs=3"  # another key for every step
OTHER_DATA = "data --set data.patients=16"
CAUSES = ("No space left", "Read-only", "File too large", "cannot be written")
Fault = Callable[[], AbstractContextManager[None]]


class MountError(Exception):
    """This process may not mount."""


def inject_into_stages(job: Job, name: str, fault: Fault, expected: dict[str, str], other: dict[str, str]) -> Faults:
    """Make the disk fail in the training and in the data stage of a finished job. Call it inside `isolated` only."""
    faults = Faults()
    try:
        inject(faults, job, name, fault, OTHER_TRAIN, [OTHER_TRAIN], other)
        inject(faults, job, name, fault, OTHER_DATA, ["data", TRAIN], expected)
    except MountError as error:
        faults.not_tried.append(str(error))
    return faults


def inject(
    faults: Faults, job: Job, name: str, fault: Fault, command: str, later: list[str], expected: dict[str, str]
) -> None:
    """Run a command during a fault, then the commands `later` without it, which must give the `expected` results."""
    for stored in ("features", "logits"):  # the command must write them again
        shutil.rmtree(job.cache / stored, ignore_errors=True)
    before = job.artifacts()
    with fault():
        done = job.run_here(command)
        problem = report_problem(done) or damage(before | job.artifacts())
    faults.count(f"{command}, {name}", problem)
    problems = [failure(job.run_here(command)) for command in later]
    faults.count(f"{later[0]} after {name}", next(filter(None, problems), None) or job.difference(expected))


def report_problem(done: Completed) -> str | None:
    """Return a message unless a command succeeded or reported the cause in one line."""
    if TRACEBACK in done.stdout + done.stderr:
        return f"traceback: {done.stderr[-300:]!r}"
    if done.returncode == 0:
        return None
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    if len(errors) != 1:
        return f"exit code {done.returncode} and {len(errors)} error lines: {done.stderr[-300:]!r}"
    return None if any(cause in errors[0] for cause in CAUSES) else f"the error does not name the cause: {errors[0]}"


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Limit the size of files: a write beyond `size` bytes fails after a part of it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def full_disk(folder: Path, free_kb: int) -> Iterator[None]:
    """Move a folder to a file system in memory that has `free_kb` KiB left, and back at the end."""
    _make_mounts_private()
    moved = folder.rename(folder.with_name(f"{folder.name}-moved"))
    folder.mkdir()
    with _mounted("-t", "tmpfs", "tmpfs", str(folder)):
        shutil.copytree(moved, folder, dirs_exist_ok=True)
        state = os.statvfs(folder)
        used = (state.f_blocks - state.f_bfree) * state.f_frsize
        _mount("-o", f"remount,size={used + free_kb * 1024}", str(folder))
        yield
        shutil.rmtree(moved)
        shutil.copytree(folder, moved)
    folder.rmdir()
    moved.rename(folder)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only by a mount, because permissions would not stop root."""
    _make_mounts_private()
    folder.mkdir(parents=True, exist_ok=True)
    with _mounted("--bind", str(folder), str(folder)):
        _mount("-o", "remount,ro,bind", str(folder))
        yield


@contextmanager
def _mounted(*words: str) -> Iterator[None]:
    _mount(*words)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", words[-1]], check=True)


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode:
        raise MountError(f"this process cannot mount: {done.stderr.strip()}")


def _make_mounts_private() -> None:
    """Hide the mounts of this process from all others. A user other than root becomes root of a new user namespace."""
    user, group = os.geteuid(), os.getegid()
    if ctypes.CDLL(None).unshare(CLONE_NEWNS | (CLONE_NEWUSER if user else 0)):
        raise MountError("this process may not create a mount namespace")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount("--make-rprivate", "/")
