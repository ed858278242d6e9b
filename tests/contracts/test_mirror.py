"""Location of the tests: tests/data/test_packing.py tests medtune/data/packing.py."""

from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
# Tests of several modules or of files outside the package.
FREE = ("benchmarks", "contracts", "examples", "pipeline", "requirements", "robustness", "studies")
TESTS = [path.relative_to(PROJECT / "tests") for path in sorted((PROJECT / "tests").rglob("test_*.py"))]


def has_source(test: Path, package: Path) -> bool:
    """Return true if test_x.py or test_x_aspect.py has a module or package x in the same folder of the package."""
    folder, name = package / test.parent, test.stem.removeprefix("test_")
    modules = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    return any(name == module or name.startswith(f"{module}_") for module in modules - {"__init__"})


def test_tests__mirror_the_source_tree() -> None:
    mirrored = [path for path in TESTS if path.parts[0] not in FREE]
    assert len(mirrored) > 100
    assert [path.as_posix() for path in mirrored if not has_source(path, PROJECT / "medtune")] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test_pack.py", True),
        ("test_pack_real.py", True),
        ("test_sources.py", True),
        ("test_packs.py", False),
        ("test_.py", False),
        ("deep/test_pack.py", False),
    ],
)
def test_has_source__module_or_package_of_that_name(tmp_path: Path, name: str, expected: bool) -> None:
    for path in ("pack.py", "__init__.py", "sources/__init__.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    assert has_source(Path(name), tmp_path) is expected
