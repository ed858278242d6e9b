"""`make release-notes TAG=v1.2.3`: check a release tag and print its section of CHANGELOG.md.

Exit code 0: the tag names the version of pyproject.toml, and the changelog describes that version. 1: otherwise.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def project_version(pyproject: str) -> str:
    """Return the version that pyproject.toml declares."""
    return str(tomllib.loads(pyproject)["project"]["version"])


def release_notes(changelog: str, version: str) -> str | None:
    """Return the text below the heading of a version, or None if it has no heading or is marked as unreleased.

    Args:
        changelog: Contents of CHANGELOG.md, with headings `## [1.2.3] - 2026-01-31` or `## [1.2.3]`.
        version: Version without `v`.
    """
    heading = re.compile(rf"^## \[{re.escape(version)}\](?! - unreleased).*$", re.MULTILINE)
    start = heading.search(changelog)
    if start is None:
        return None
    return re.split(r"^## ", changelog[start.end() :], maxsplit=1, flags=re.MULTILINE)[0].strip()


def problem(tag: str, version: str, changelog: str) -> str | None:
    """Return the reason why a tag cannot be released, as one line, or None."""
    if tag != f"v{version}":
        return f"TAG={tag}: pyproject.toml has version {version}. Tag v{version}, or change the version."
    if not release_notes(changelog, version):
        return f"TAG={tag}: CHANGELOG.md does not describe {version}. Add the section `## [{version}] - <date>`."
    return None


def main(arguments: list[str]) -> int:
    """Print the release notes, or one line on stderr with the problem."""
    parser = argparse.ArgumentParser(description="Check a release tag and print its release notes.")
    parser.add_argument("tag")
    tag = parser.parse_args(arguments).tag
    version = project_version((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    changelog = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    if message := problem(tag, version, changelog):
        print(f"error: {message}", file=sys.stderr)
        return 1
    print(release_notes(changelog, version))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
