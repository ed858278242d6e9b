"""`make audit`: list known vulnerabilities of the locked packages; pip-audit asks OSV for them.

Exit code 0: no vulnerability is known. 1: at least one is. 2: the service did not answer for every package.
$MEDTUNE_OSV_URL names another server with the same interface. allowed.toml lists the accepted vulnerabilities.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ALLOWED = Path(__file__).with_name("allowed.toml")
SERVICE = "https://api.osv.dev/v1/query"
TIMEOUT_S = 15


def allowed(path: Path, today: datetime.date) -> dict[str, str]:
    """Return the reason per accepted vulnerability id, without expired entries.

    Raises:
        ValueError: an entry lacks id, reason or until.
    """
    found = {}
    for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("allowed", []):
        if missing := {"id", "reason", "until"} - entry.keys():
            raise ValueError(f"{path.name}: {entry}: no {', '.join(sorted(missing))}")
        if entry["until"] >= today:
            found[entry["id"]] = entry["reason"]
    return found


def ask(lock: Path, url: str) -> dict[str, Any] | str:
    """Return pip-audit's findings for a lock on this platform, or the error as a string."""
    words = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--disable-pip", "--require-hashes",
             "--vulnerability-service", "osv", "--osv-url", url, "--timeout", str(TIMEOUT_S), "--format", "json",
             "--aliases", "on", "--desc", "off", "--progress-spinner", "off"]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True)
    try:
        return json.loads(done.stdout)
    except ValueError:
        return (done.stderr.strip().splitlines() or [f"pip-audit ended with {done.returncode}"])[-1][:300]


def verdict(lock: str, found: dict[str, Any] | str, accepted: Mapping[str, str]) -> tuple[int, list[str]]:
    """Return the exit code and the lines to print for one lock."""
    if isinstance(found, str):
        return 2, [f"{lock}: not audited: the vulnerability service cannot be reached: {found}"]
    packages = found["dependencies"]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped or not packages:
        named = f"{', '.join(skipped[:5])}{', ...' if len(skipped) > 5 else ''}"
        return 2, [
            f"{lock}: not audited: the service knows nothing of {len(skipped)} packages: {named or 'the lock is empty'}"
        ]
    bad, lines = 0, []
    for package in packages:
        for one in package["vulns"]:
            names = [one["id"], *one.get("aliases", [])]
            reason = next((accepted[name] for name in names if name in accepted), None)
            bad += reason is None
            fixed = ", ".join(one["fix_versions"]) or "no version yet"
            lines.append(f"{lock}: {package['name']} {package['version']}: {' '.join(names)}; fixed in: {fixed}"
                         + (f"; accepted: {reason}" if reason else ""))  # fmt: skip
    lines.append(f"{lock}: {len(packages)} packages, {bad} known vulnerabilities, {len(lines) - bad} accepted")
    return min(bad, 1), lines


def main(argv: Sequence[str] | None = None) -> int:
    """Audit each lock and return the exit code of the module's docstring."""
    parser = argparse.ArgumentParser(description="Audit locks for known vulnerabilities.")
    parser.add_argument("locks", type=Path, nargs="+")
    args = parser.parse_args(argv)
    accepted = allowed(ALLOWED, datetime.date.today())
    codes = set()
    for lock in args.locks:
        code, lines = verdict(lock.name, ask(lock, os.environ.get("MEDTUNE_OSV_URL") or SERVICE), accepted)
        codes.add(code)
        print("\n".join(lines), file=sys.stderr if code == 2 else sys.stdout, flush=True)
    return 1 if 1 in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main())
