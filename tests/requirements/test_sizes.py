"""Tests of download sizes: the wheels of a platform, and a table that covers every lock."""

from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LINUX, MAC, WINDOWS = "Linux-x86_64", "Darwin-arm64", "Windows-AMD64"


@pytest.mark.parametrize(
    ("wheel", "platforms"),
    [
        ("a-1-py3-none-any.whl", {LINUX, "Linux-aarch64", MAC, WINDOWS}),
        ("a-1-py2.py3-none-any.whl", {LINUX, "Linux-aarch64", MAC, WINDOWS}),
        ("a-1-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", {LINUX}),
        ("a-1-cp313-cp313t-manylinux_2_17_x86_64.whl", set()),
        ("a-1-cp312-cp312-manylinux_2_17_x86_64.whl", set()),
        ("a-1-cp39-abi3-macosx_11_0_universal2.whl", {MAC}),
        ("a-1-cp314-abi3-macosx_11_0_arm64.whl", set()),
        ("a-1-py3-none-win_amd64.whl", {WINDOWS}),
        ("a-1-cp313-cp313-musllinux_1_2_x86_64.whl", set()),
    ],
)
def test_fits__matches_wheels_to_platforms(sizes: ModuleType, wheel: str, platforms: set[str]) -> None:
    assert {platform for platform in sizes.PLATFORMS if sizes.fits(wheel, platform)} == platforms


def test_download_bytes__follows_markers_and_falls_back_to_the_sdist(sizes: ModuleType) -> None:
    wheel = {"url": "x/a-1-cp313-cp313-win_amd64.whl", "size": 5}
    lock = {
        "packages": [
            {"name": "a", "wheels": [wheel], "sdist": {"size": 70}},
            {"name": "b", "marker": "sys_platform == 'win32'", "sdist": {"size": 200}},
        ]
    }
    assert sizes.download_bytes(lock, WINDOWS) == 205
    assert sizes.download_bytes(lock, LINUX) == 70


def test_table__covers_every_lock_that_is_installed(sizes: ModuleType) -> None:
    lines = (PROJECT / "requirements" / "sizes.txt").read_text(encoding="utf-8").splitlines()[1:]
    locks = ("dev", "dev-cpu", "train", "predict", "serve", "serve-gpu")
    assert [line.split()[:2] for line in lines] == [[lock, name] for lock in locks for name in sizes.PLATFORMS]
    assert all(int(line.split()[2]) > 10 for line in lines)
