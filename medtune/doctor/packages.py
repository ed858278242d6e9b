"""Python and the installed packages against the lock."""

import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from medtune.config.project import PROJECT
from medtune.doctor.result import Finding, Job, ok, warning, wrong

LOCK = PROJECT / "requirements" / "train.lock"
LINE = re.compile(r"^([\w.-]+)==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*\\?$")
# Below these, files of strangers can do harm: SECURITY.md.
FLOORS = {"torch": "2.10", "onnx": "1.21", "pillow": "12.2"}
SETUP = "make setup"
_SHOWN = 4


def python(job: Job) -> Finding:
    """Which Python runs this, and whether it is new enough."""
    found = f"{platform.python_version()}, {sys.executable}"
    return ok(found) if sys.version_info >= (3, 11) else wrong(found, "MedTune needs 3.11 or newer: make PYTHON=...")


def packages(job: Job) -> Finding:
    """Installed versions against requirements/train.lock, and against what safety asks for at least."""
    from packaging.version import Version

    if not LOCK.is_file():
        return warning(f"{LOCK.name} is not there", "restore requirements/ from git, then make setup")
    wanted = locked(LOCK)
    found = {name: _installed(name) for name in wanted}
    low = [
        f"{name} {at}" for name, floor in FLOORS.items() if (at := _installed(name)) and Version(at) < Version(floor)
    ]
    if low:
        floors = ", ".join(f"{name} >= {floor}" for name, floor in FLOORS.items())
        return wrong(f"{', '.join(low)}: known to be unsafe with files of strangers", f"{SETUP} ({floors})")
    if missing := [name for name, at in found.items() if at is None]:
        return wrong(f"{len(missing)} of {len(wanted)} are missing: {_few(missing)}", SETUP)
    if other := [f"{name} {at} (lock: {wanted[name]})" for name, at in found.items() if at != wanted[name]]:
        return warning(f"{len(other)} of {len(wanted)} are other versions than in {LOCK.name}: {_few(other)}", SETUP)
    return ok(f"{len(wanted)} packages as in {LOCK.name}")


def locked(lock: Path) -> dict[str, str]:
    """Versions by package that `lock` names for this Python and machine."""
    from packaging.markers import Marker

    found = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        match = LINE.match(line)
        if match and (match[3] is None or Marker(match[3]).evaluate()):
            found[match[1]] = match[2]
    return found


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _few(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
