"""Checks of Python and the installed packages."""

import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from medtune.config.project import PROJECT
from medtune.doctor.check_result import CheckResult, Context, failure, ok, warning

LOCK_FILE = PROJECT / "requirements" / "train.lock"
LOCK_LINE = re.compile(r"^([\w.-]+)==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*\\?$")
# Older versions are not safe with files from untrusted sources, see SECURITY.md.
MIN_VERSIONS = {"torch": "2.10", "onnx": "1.21", "pillow": "12.2"}
SETUP = "make setup"
# Packages that only volumes need. The extra `segment` contains them.
VOLUME_PACKAGES = ("nibabel", "monai", "einops")
INSTALL_VOLUMES = 'pip install "medtune[segment]"'
_SHOWN = 4


def check_python(context: Context) -> CheckResult:
    """Check the version of Python."""
    summary = f"{platform.python_version()}, {sys.executable}"
    supported = sys.version_info >= (3, 11)
    return ok(summary) if supported else failure(summary, "use Python 3.11 or newer: make setup PYTHON=python3.11")


def check_packages(context: Context) -> CheckResult:
    """Compare the installed versions with requirements/train.lock and with the safe minimum versions."""
    from packaging.version import Version

    low = [
        f"{name} {current}"
        for name, minimum in MIN_VERSIONS.items()
        if (current := _installed(name)) and Version(current) < Version(minimum)
    ]
    if low:
        minima = ", ".join(f"{name} >= {minimum}" for name, minimum in MIN_VERSIONS.items())
        return failure(f"{', '.join(low)}: not safe with untrusted files", f"{SETUP} ({minima})")
    if context.params.data.has_volumes and (missing := [name for name in VOLUME_PACKAGES if not _installed(name)]):
        return failure(f"{', '.join(missing)}: not installed, but volumes need them", INSTALL_VOLUMES)
    if not LOCK_FILE.is_file():
        if not (PROJECT / "Makefile").is_file():
            return ok("MedTune is installed as a package, without a lock file to compare with")
        return warning(f"{LOCK_FILE.name} is missing", "restore requirements/ from git, then run make setup")
    locked = read_lock(LOCK_FILE)
    installed = {name: _installed(name) for name in locked}
    if missing := [name for name, found in installed.items() if found is None]:
        return failure(f"missing packages ({len(missing)} of {len(locked)}): {_summarize(missing)}", SETUP)
    if different := [name for name in locked if installed[name] != locked[name]]:
        versions = _summarize([f"{name} {installed[name]} (lock: {locked[name]})" for name in different])
        return warning(f"{len(different)} of {len(locked)} packages differ from {LOCK_FILE.name}: {versions}", SETUP)
    return ok(f"{len(locked)} packages as in {LOCK_FILE.name}")


def read_lock(lock: Path) -> dict[str, str]:
    """Return the versions in a lock file by package. Packages for other systems or Python versions are omitted."""
    from packaging.markers import Marker

    versions = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        match = LOCK_LINE.match(line)
        if match and (match[3] is None or Marker(match[3]).evaluate()):
            versions[match[1]] = match[2]
    return versions


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _summarize(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
