"""`make audit`: list known vulnerabilities of the locked packages, which pip-audit requests from OSV.

Exit codes: 0 if no vulnerability is known, 1 if at least one is known, 2 if the service did not answer for every
package. $MEDTUNE_OSV_URL sets another server with the same interface. allowed.toml lists accepted vulnerabilities.
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
    """Read the accepted vulnerabilities, without expired entries.

    Args:
        path: allowed.toml.
        today: entries with an earlier date `until` are ignored.

    Returns:
        Reason by vulnerability id.

    Raises:
        ValueError: an entry lacks id, reason or until.
    """
    reasons = {}
    for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("allowed", []):
        if missing := {"id", "reason", "until"} - entry.keys():
            raise ValueError(f"{path.name}: {entry}: no {', '.join(sorted(missing))}")
        if entry["until"] >= today:
            reasons[entry["id"]] = entry["reason"]
    return reasons


def run_audit(lock: Path, url: str) -> dict[str, Any] | str:
    """Return pip-audit's report for a lock on this platform, or the error as a string."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--disable-pip", "--require-hashes",
               "--vulnerability-service", "osv", "--osv-url", url, "--timeout", str(TIMEOUT_S), "--format", "json",
               "--aliases", "on", "--desc", "off", "--progress-spinner", "off"]  # fmt: skip
    process = subprocess.run(command, capture_output=True, text=True)
    try:
        report: dict[str, Any] = json.loads(process.stdout)
    except ValueError:
        return (process.stderr.strip().splitlines() or [f"pip-audit ended with {process.returncode}"])[-1][:300]
    return report


def verdict(lock: str, report: dict[str, Any] | str, accepted: Mapping[str, str]) -> tuple[int, list[str]]:
    """Return the exit code and the lines to print for one lock."""
    if isinstance(report, str):
        return 2, [f"{lock}: not audited: the vulnerability service cannot be reached: {report}"]
    packages = report["dependencies"]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped or not packages:
        named = f"{', '.join(skipped[:5])}{', ...' if len(skipped) > 5 else ''}"
        return 2, [
            f"{lock}: not audited: the service does not know {len(skipped)} packages: {named or 'the lock is empty'}"
        ]
    bad, lines = 0, []
    for package in packages:
        for vulnerability in package["vulns"]:
            names = [vulnerability["id"], *vulnerability.get("aliases", [])]
            reason = next((accepted[name] for name in names if name in accepted), None)
            bad += reason is None
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            lines.append(f"{lock}: {package['name']} {package['version']}: {' '.join(names)}; fixed in: {fixed}"
                         + (f"; accepted: {reason}" if reason else ""))  # fmt: skip
    lines.append(f"{lock}: {len(packages)} packages, {bad} known vulnerabilities, {len(lines) - bad} accepted")
    return min(bad, 1), lines


def main(argv: Sequence[str] | None = None) -> int:
    """Audit each lock and return the exit code, as documented above."""
    parser = argparse.ArgumentParser(description="Audit locks for known vulnerabilities.")
    parser.add_argument("locks", type=Path, nargs="+")
    args = parser.parse_args(argv)
    accepted = allowed(ALLOWED, datetime.date.today())
    codes = set()
    for lock in args.locks:
        code, lines = verdict(lock.name, run_audit(lock, os.environ.get("MEDTUNE_OSV_URL") or SERVICE), accepted)
        codes.add(code)
        print("\n".join(lines), file=sys.stderr if code == 2 else sys.stdout, flush=True)
    return 1 if 1 in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main())
