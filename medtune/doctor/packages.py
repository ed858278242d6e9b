"""Python and the installed packages against the lock."""

import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from medtune.config.project import PROJECT
from medtune.doctor.check_result import CheckResult, Context, failure, ok, warning

LOCK_FILE = PROJECT / "requirements" / "train.lock"
LOCK_LINE = re.compile(r"^([\w.-]+)==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*\\?$")
# Below these, files of strangers can do harm: SECURITY.md.
MIN_VERSIONS = {"torch": "2.10", "onnx": "1.21", "pillow": "12.2"}
SETUP = "make setup"
_SHOWN = 4


def check_python(context: Context) -> CheckResult:
    """Which Python runs this, and whether it is new enough."""
    found = f"{platform.python_version()}, {sys.executable}"
    return ok(found) if sys.version_info >= (3, 11) else failure(found, "MedTune needs 3.11 or newer: make PYTHON=...")


def check_packages(context: Context) -> CheckResult:
    """Installed versions against requirements/train.lock, and against what safety asks for at least."""
    from packaging.version import Version

    low = [
        f"{name} {at}"
        for name, floor in MIN_VERSIONS.items()
        if (at := _installed(name)) and Version(at) < Version(floor)
    ]
    if low:
        floors = ", ".join(f"{name} >= {floor}" for name, floor in MIN_VERSIONS.items())
        return failure(f"{', '.join(low)}: known to be unsafe with files of strangers", f"{SETUP} ({floors})")
    if not LOCK_FILE.is_file():
        if not (PROJECT / "Makefile").is_file():
            return ok("MedTune is installed as a package, which sets the versions: there is no lock to compare with")
        return warning(f"{LOCK_FILE.name} is missing", "restore requirements/ from git, then make setup")
    wanted = read_lock(LOCK_FILE)
    found = {name: _installed(name) for name in wanted}
    if missing := [name for name, at in found.items() if at is None]:
        return failure(f"{len(missing)} of {len(wanted)} are missing: {_summarize(missing)}", SETUP)
    if other := [f"{name} {at} (lock: {wanted[name]})" for name, at in found.items() if at != wanted[name]]:
        return warning(
            f"{len(other)} of {len(wanted)} are other versions than in {LOCK_FILE.name}: {_summarize(other)}", SETUP
        )
    return ok(f"{len(wanted)} packages as in {LOCK_FILE.name}")


def read_lock(lock: Path) -> dict[str, str]:
    """Versions by package that `lock` names for this Python and machine."""
    from packaging.markers import Marker

    found = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        match = LOCK_LINE.match(line)
        if match and (match[3] is None or Marker(match[3]).evaluate()):
            found[match[1]] = match[2]
    return found


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _summarize(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
