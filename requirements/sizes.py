"""Print the download size of each lock per platform; `make setup` shows it before it installs packages.

The input is one pylock.<lock>.toml per lock, written by `uv pip compile --format pylock.toml`. The output is one line
per lock and platform with the size in MB. `make lock` runs this script.
"""

import argparse
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.utils import parse_wheel_filename

PYTHON = (3, 13)
# Key: `uname -s`-`uname -m`. Value: values of the markers, then allowed starts and ends of a wheel's platform tag.
PLATFORMS: dict[str, tuple[str, str, str, str, tuple[str, ...], tuple[str, ...]]] = {
    "Linux-x86_64": ("linux", "Linux", "posix", "x86_64", ("manylinux", "linux"), ("x86_64",)),
    "Linux-aarch64": ("linux", "Linux", "posix", "aarch64", ("manylinux", "linux"), ("aarch64",)),
    "Darwin-arm64": ("darwin", "Darwin", "posix", "arm64", ("macosx",), ("arm64", "universal2")),
    "Windows-AMD64": ("win32", "Windows", "nt", "AMD64", ("win",), ("amd64",)),
}


def environment(platform: str) -> dict[str, str]:
    """Return the marker variables of CPython `PYTHON` on a platform."""
    sys_platform, system, os_name, machine, _, _ = PLATFORMS[platform]
    version = ".".join(map(str, PYTHON))
    return {
        "implementation_name": "cpython",
        "os_name": os_name,
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": system,
        "python_full_version": f"{version}.0",
        "python_version": version,
        "sys_platform": sys_platform,
    }


def fits(filename: str, platform: str) -> bool:
    """Return True if a wheel installs on CPython `PYTHON` on a platform."""
    *_, starts, ends = PLATFORMS[platform]
    for tag in parse_wheel_filename(filename)[3]:
        major, minor = tag.interpreter.removeprefix("cp").removeprefix("py")[:1], tag.interpreter[3:]
        python = tag.interpreter == f"cp{PYTHON[0]}{PYTHON[1]}" and tag.abi in (tag.interpreter, "none", "abi3")
        stable = tag.abi == "abi3" and tag.interpreter[:2] == "cp" and major == "3" and int(minor or 0) <= PYTHON[1]
        pure = tag.interpreter[:2] == "py" and major == "3" and tag.abi == "none"
        system = tag.platform == "any" or (tag.platform.startswith(starts) and tag.platform.endswith(ends))
        if system and (python or stable or pure):
            return True
    return False


def download_bytes(lock: dict[str, Any], platform: str) -> int:
    """Return the bytes to download for a parsed pylock.toml, with the sdist of packages without a fitting wheel."""
    total = 0
    variables = environment(platform)
    for package in lock["packages"]:
        if "marker" in package and not Marker(package["marker"]).evaluate(variables):
            continue
        wheels = [file["size"] for file in package.get("wheels", []) if fits(file["url"].rsplit("/", 1)[1], platform)]
        total += min(wheels) if wheels else package.get("sdist", {"size": 0})["size"]
    return total


def main(arguments: list[str]) -> None:
    """Print the table for the given files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    print(f"# Written by `make lock`: lock, platform, MB to download (Python {PYTHON[0]}.{PYTHON[1]}).")
    for file in parser.parse_args(arguments).files:
        lock = tomllib.loads(file.read_text(encoding="utf-8"))
        for platform in PLATFORMS:
            print(file.name.split(".")[1], platform, round(download_bytes(lock, platform) / 1e6))


if __name__ == "__main__":
    main(sys.argv[1:])
