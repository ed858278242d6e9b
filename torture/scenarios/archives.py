"""Archives that try to write outside, to fill the disk or memory, or to pass for whole; and .npz files likewise.

Everything around the place that an archive is unpacked to is listed before and after.
"""

import os
import shutil
import stat
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torture.outcome import Outcome

if TYPE_CHECKING:
    from torture.hostile.archive import Archive

NUMBER = 5
TITLE = "archives with .., absolute names, links, devices, bombs; .npz files that lie"
TARGET = "nothing written outside; refused"
SLOW_S = 30.0
# Of a limit on entries a test can reach only a smaller one in time; the one on bytes is the real one.
ENTRIES = 1000
HEADERS_BYTES = 50 << 20


def parts(full: bool) -> dict[str, dict[str, Any]]:
    """Blocks of archives by the first one's number, and of .npz files."""
    if not full:
        return {"archives": {"first": 0, "count": 26, "arrays": 0}, "arrays": {"first": 0, "count": 0, "arrays": 10}}
    blocks = {f"from-{first}": {"first": first, "count": 260, "arrays": 0} for first in range(0, 520, 260)}
    return {**blocks, "arrays": {"first": 0, "count": 0, "arrays": 200}}


def inject(folder: Path, first: int, count: int, arrays: int) -> Outcome:
    """Unpacks `count` archives and reads `arrays` .npz files."""
    import numpy as np

    from torture.hostile import tar_archives, zip_archives
    from torture.hostile.npz_files import try_one

    outcome = Outcome()
    kinds = {**tar_archives.KINDS, **zip_archives.KINDS}
    names = list(kinds)
    for number in range(first, first + count):
        kind = names[number % len(names)]
        one = kinds[kind](np.random.default_rng([5, number]), kind)
        outcome.count(f"{number} {kind}", _unpack(folder / str(number), one))
    for number in range(arrays):
        what, fault = try_one(folder / f"{number}.npz", number)
        outcome.count(f"{number} {what}", fault)
    return outcome


def _unpack(sandbox: Path, one: "Archive") -> str | None:
    """What went wrong with `one`, or None."""
    from medtune.config.errors import InputError
    from medtune.data import archive
    from torture.hostile.archive import OUTSIDE

    (sandbox / "victim").mkdir(parents=True)
    (sandbox / "victim" / "secret.txt").write_text("secret")
    (sandbox / "work" / "cache" / "archives").mkdir(parents=True)
    path = sandbox / "work" / f"given{one.suffix}"
    path.write_bytes(one.content)
    before, begun = _listed(sandbox.parent), time.monotonic()
    refused: list[str] = []
    place = None
    with _cache(sandbox / "work" / "cache"), _fewer_entries(), _watched(one) as held:
        for function in (archive.first_member, archive.unpack_cached):
            try:
                found = function(path)
                place = found if isinstance(found, Path) else place
            except InputError as error:
                refused.append(str(error))
            except Exception as error:
                return f"{function.__name__}: {type(error).__name__}: {error}"[:300]
    seconds, after = time.monotonic() - begun, _listed(sandbox.parent)
    fault = _judge(one, refused, place, path)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    inside = place.relative_to(sandbox.parent).as_posix() + "/" if place else "\0"
    if outside := sorted(name for name in changed if not name.startswith(inside) and not _own(name, inside)):
        fault = f"written outside: {', '.join(outside[:3])}"
    if OUTSIDE.exists():
        fault = f"written outside: {OUTSIDE}"
    if seconds > SLOW_S:
        fault = fault or f"took {seconds:.0f} s"
    if held and held[0] > HEADERS_BYTES:
        fault = fault or f"a member's header took {held[0]:,} bytes of memory"
    shutil.rmtree(sandbox)
    return fault


def _judge(one: "Archive", refused: list[str], place: Path | None, path: Path) -> str | None:
    if any("\n" in line or str(path) not in line for line in refused):
        return f"the refusal is no line that names it: {refused}"[:300]
    if place is None:
        return f"refused: {refused[-1]}"[:300] if one.usable else None
    if one.usable is False:
        return "unpacked"
    entries = [entry for entry in place.rglob("*") if not entry.is_dir() or entry.is_symlink()]
    if any(not stat.S_ISREG(entry.lstat().st_mode) for entry in entries):
        return "unpacked something that is no plain file"
    found = {entry.relative_to(place).as_posix(): entry.read_bytes() for entry in entries}
    if one.files is not None and found != one.files and not _plain_tar(one, found):
        return f"unpacked {len(found)} files, other than the {len(one.files)} that were packed"
    return None


def _plain_tar(one: "Archive", found: dict[str, bytes]) -> bool:
    """A plain .tar has no checksum of contents or names' spelling: all files must be there, no more can be asked."""
    assert one.files is not None
    return one.suffix == ".tar" and len(found) == len(one.files)


def _own(name: str, inside: str) -> bool:
    """The folder itself, and the lock beside it."""
    return (name.endswith(".lock") and Path(name).parts[-3:-1] == ("cache", "archives")) or f"{name}/" == inside


def _listed(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Kind, size and first bytes of everything under `folder`, by relative path."""
    found = {}
    for path in folder.rglob("*"):
        facts = path.lstat()
        content = path.read_bytes()[:64] if stat.S_ISREG(facts.st_mode) else b""
        size = 0 if stat.S_ISDIR(facts.st_mode) else facts.st_size
        found[path.relative_to(folder).as_posix()] = stat.S_IFMT(facts.st_mode), size, content
    return found


@contextmanager
def _watched(one: "Archive") -> Iterator[list[int]]:
    """Afterwards the most bytes that Python held, where it is memory that `one` is after."""
    found: list[int] = []
    if "header-bomb" not in one.kind:
        yield found
        return
    tracemalloc.start()
    try:
        yield found
        found.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


@contextmanager
def _cache(folder: Path) -> Iterator[None]:
    before = os.environ.get("MEDTUNE_CACHE")
    os.environ["MEDTUNE_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["MEDTUNE_CACHE"]
        else:
            os.environ["MEDTUNE_CACHE"] = before


@contextmanager
def _fewer_entries() -> Iterator[None]:
    from medtune.data import archive

    before, archive.MAX_FILES = archive.MAX_FILES, ENTRIES
    try:
        yield
    finally:
        archive.MAX_FILES = before
