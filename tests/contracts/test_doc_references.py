"""References in the documents: the files, modules and tests exist."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
# Without CHANGELOG.md, which also names removed files.
DOCUMENTS = sorted(path for path in [*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")] if path.name != "CHANGELOG.md")
QUOTED, LINK = re.compile(r"`([^`\n]+)`"), re.compile(r"\]\(([^)#\s]+)")
PATH = re.compile(r"[\w.<>*-]+(?:/[\w.<>*-]+)*/?")
MODULE = re.compile(r"python -m ([\w.]+)")
TEST = re.compile(r"test_\w+")
# Files that `make benchmark` writes and git does not ignore.
GENERATED = {"benchmarks/dvc.yaml", "benchmarks/dvc.lock"}

# A row of the migration table, whose first column names removed files.
MIGRATION = re.compile(r"^ *\| .* \| `medtune .*$", re.MULTILINE)


def tracked_folders() -> set[str]:
    """Return the top-level folders with tracked files and the packages of medtune."""
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    folders = {name.partition("/")[0] for name in tracked.splitlines() if "/" in name}
    packages = {path.parent.name for path in (PROJECT / "medtune").glob("*/__init__.py")}
    return (folders | packages) - {"data"}  # contains files of the user


def exists(name: str, document: Path) -> bool:
    """Return true if a path relative to the project or the document matches; `<name>` and NAME match anything."""
    pattern = re.sub(r"<\w+>|\bNAME\b", "*", name.rstrip("/"))
    return any(True for folder in (PROJECT, document.parent) for _ in folder.glob(pattern)) or is_generated(name)


def is_generated(name: str) -> bool:
    """Return true if a command generates the file: git ignores it or it is in GENERATED."""
    return name in GENERATED or subprocess.run(["git", "check-ignore", "-q", name], cwd=PROJECT).returncode == 0


def is_module(name: str) -> bool:
    """Return true if the module can be imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


def broken_references(text: str, document: Path, folders: set[str]) -> list[str]:
    """Return the references of a document that do not exist."""
    broken = []
    for name in QUOTED.findall(text):
        path = PATH.fullmatch(name)
        if path and (name.endswith(".py") or ("/" in name and name.partition("/")[0] in folders)):
            broken += [] if exists(name, document) else [name]
    for name in LINK.findall(text):
        if "://" not in name and not (document.parent / name).exists():
            broken.append(name)
    for name in MODULE.findall(text):
        top = name.partition(".")[0]
        if top in folders and not is_module(name.rstrip(".")):
            broken.append(name)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents__have_no_broken_references(document: Path) -> None:
    text = MIGRATION.sub("", document.read_text(encoding="utf-8"))
    assert broken_references(text, document, tracked_folders()) == []


def test_security__names_tests_that_exist() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (PROJECT / "tests").rglob("*.py")]
    defined = {name for source in sources for name in re.findall(r"def (test_\w+)", source)}
    files = {path.stem for path in (PROJECT / "tests").rglob("test_*.py")}
    named = {name for name in QUOTED.findall((PROJECT / "SECURITY.md").read_text()) if TEST.fullmatch(name)}
    missing = {name for name in named - files if not any(test.startswith(name) for test in defined)}
    assert len(named) > 20
    assert missing == set()


def test_broken_references__detects_moved_files() -> None:
    text = "`handoff/bundle.py`, `runtime/nothing`, [x](../tracking/workspace.py), `python -m medtune.nothing`, `a/b`"
    document = PROJECT / "docs" / "methods.md"
    expected = ["handoff/bundle.py", "runtime/nothing", "../tracking/workspace.py", "medtune.nothing"]
    assert broken_references(text, document, tracked_folders()) == expected
