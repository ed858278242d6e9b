"""`make licenses`: list the name, version and license of every locked package.

Licenses come from the metadata of the installed packages. [tool.medtune.licenses] in pyproject.toml lists the allowed
licenses and the exceptions. Exit code 0: every package of the runtime locks is allowed. 1: at least one is not.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, NamedTuple

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.markers import Marker

PROJECT = Path(__file__).resolve().parent.parent
RUNTIME = ("train", "serve", "serve-gpu", "predict")
LINE = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]+?))?\s*\\?$")
COPYLEFT = re.compile(r"\b[AL]?GPL|General Public License")
UNKNOWN = "unknown"
# Names without SPDX syntax, from the field License and from classifiers. "BSD" leaves the number of clauses open.
SPDX = {
    "2-clause bsd license": "BSD-2-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD",
    "bsd license": "BSD",
    "gplv2 | eplv1": "GPL-2.0-only OR EPL-1.0",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "new bsd": "BSD-3-Clause",
    "nvidia proprietary software": "LicenseRef-NVIDIA-Proprietary",
    "python software foundation license": "PSF-2.0",
}


class Package(NamedTuple):
    """One line of a lock; `here` is False if its marker excludes this platform."""

    name: str
    version: str
    here: bool


class Policy(NamedTuple):
    """[tool.medtune.licenses]: allowed identifiers, and the accepted license per package of an exception."""

    allowed: frozenset[str]
    exceptions: Mapping[str, str]


def locked(lock: str) -> list[Package]:
    """Return the packages of a lock."""
    packages = []
    for match in filter(None, map(LINE.match, lock.splitlines())):
        name = re.sub(r"[-_.]+", "-", match["name"]).lower()
        packages.append(Package(name, match["version"], match["marker"] is None or Marker(match["marker"]).evaluate()))
    return packages


def read_policy(table: Mapping[str, Any]) -> Policy:
    """Return the policy of [tool.medtune.licenses].

    Raises:
        ValueError: An exception has no reason.
    """
    exceptions: dict[str, str] = {}
    for entry in table.get("exceptions", []):
        if not entry.get("reason"):
            raise ValueError(f"tool.medtune.licenses.exceptions: {entry['packages']} has no reason")
        exceptions |= dict.fromkeys(entry["packages"], entry["license"])
    return Policy(frozenset(table["allowed"]), exceptions)


def license_of(expression: str | None, text: str | None, classifiers: Iterable[str]) -> str:
    """Return the license of a package, as an SPDX expression where possible.

    Args:
        expression: Field License-Expression.
        text: Field License, which may contain a name, an expression or the complete text.
        classifiers: Trove classifiers. Several licenses are joined with AND, the stricter reading.
    """
    if expression:
        return expression
    text = (text or "").strip()
    if text.lower() in SPDX:
        return SPDX[text.lower()]
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        pass
    names = [name.rpartition(" :: ")[2] for name in classifiers if name.startswith("License :: ")]
    names = [SPDX.get(name.lower(), name) for name in names if name not in ("OSI Approved", "DFSG approved")]
    if names:
        return " AND ".join(dict.fromkeys(names))
    return text.splitlines()[0][:60] if text and text != "UNKNOWN" else UNKNOWN


def is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Return True if an SPDX expression can be satisfied with allowed licenses."""
    tokens = re.findall(r"[()]|[^\s()]+", expression)[::-1]

    def parse_or() -> bool:
        value = parse_and()
        while tokens and tokens[-1] == "OR":
            tokens.pop()
            value = parse_and() or value
        return value

    def parse_and() -> bool:
        value = parse_license()
        while tokens and tokens[-1] == "AND":
            tokens.pop()
            value = parse_license() and value
        return value

    def parse_license() -> bool:
        token = tokens.pop() if tokens else ""
        if token == "(":
            value = parse_or()
            return bool(tokens) and tokens.pop() == ")" and value
        if tokens and tokens[-1] == "WITH":  # an exception only adds permissions
            del tokens[-2:]
        return token in allowed

    return parse_or() and not tokens


def mark(license: str, policy: Policy) -> str:
    """Return the mark of a license that is not permissive, or an empty string."""
    if is_allowed(license, policy.allowed):
        return ""
    if license == UNKNOWN:
        return UNKNOWN
    return "copyleft" if COPYLEFT.search(license) else "not permissive"


def installed_license(name: str) -> str | None:
    """Return the license of an installed package, or None if it is not installed."""
    try:
        fields = metadata(name)
    except PackageNotFoundError:
        return None
    expression, text = ((fields.get_all(key) or [None])[0] for key in ("License-Expression", "License"))
    return license_of(expression, text, fields.get_all("Classifier") or [])


def report(locks: Mapping[str, list[Package]], policy: Policy) -> tuple[list[str], list[str]]:
    """Return the lines of the table, and one error per package of a runtime lock that is not allowed."""
    lines, errors = [], []
    packages = {package.name: package for lock in [*locks.values()][::-1] for package in lock}
    for name, package in sorted(packages.items()):
        runtime = [lock for lock in RUNTIME if any(name == other.name and other.here for other in locks.get(lock, []))]
        accepted = policy.exceptions.get(name)
        license = installed_license(name) or accepted
        if license is None:
            why = "not installed" if package.here else "other platform"
            lines.append(f"{name:32} {package.version:14} ({why})")
            if runtime:
                errors.append(f"{name}: in {runtime[0]}.lock but not installed. Run make setup, or add an exception.")
            continue
        note = mark(license, policy)
        exempt = ", exception" if note and license == accepted else ""
        lines.append(f"{name:32} {package.version:14} {license}{f'  [{note}{exempt}]' if note else ''}")
        if note and runtime and not exempt:
            errors.append(f"{name}: license {license} ({runtime[0]}.lock) is not in [tool.medtune.licenses].")
    return lines, errors


def main() -> int:
    """Print the table, then the packages that are not allowed on stderr."""
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    policy = read_policy(pyproject["tool"]["medtune"]["licenses"])
    folder = PROJECT / "requirements"
    locks = {name: locked((folder / f"{name}.lock").read_text(encoding="utf-8")) for name in ("dev", *RUNTIME)}
    lines, errors = report(locks, policy)
    print("\n".join(lines))
    marked = sum(line.endswith("]") for line in lines)
    print(f"{len(lines)} packages, {marked} not permissive, {len(errors)} not allowed in {', '.join(RUNTIME)}")
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
