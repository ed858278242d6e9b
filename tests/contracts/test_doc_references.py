"""Files, modules and tests that the documents name exist."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
# CHANGELOG.md is left out: it also names what no longer exists.
DOCUMENTS = sorted(path for path in [*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")] if path.name != "CHANGELOG.md")
QUOTED, LINK = re.compile(r"`([^`\n]+)`"), re.compile(r"\]\(([^)#\s]+)")
PATH = re.compile(r"[\w.<>*-]+(?:/[\w.<>*-]+)*/?")
MODULE = re.compile(r"python -m ([\w.]+)")
TEST = re.compile(r"test_\w+")
# `make benchmark` writes them, and git takes them.
MADE = {"benchmarks/dvc.yaml", "benchmarks/dvc.lock"}

# A row of the changelog's migration table: its first column names what is gone.
MIGRATION = re.compile(r"^ *\| .* \| `medtune .*$", re.MULTILINE)


def tracked_folders() -> set[str]:
    """Top-level folders with the project's own files, and the packages of medtune."""
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    folders = {name.partition("/")[0] for name in listed.splitlines() if "/" in name}
    packages = {path.parent.name for path in (PROJECT / "medtune").glob("*/__init__.py")}
    return (folders | packages) - {"data"}  # the user's own files are there


def is_there(name: str, document: Path) -> bool:
    """Whether a file or folder matches, seen from the project or the document; `<name>` and NAME stand for any."""
    pattern = re.sub(r"<\w+>|\bNAME\b", "*", name.rstrip("/"))
    return any(True for folder in (PROJECT, document.parent) for _ in folder.glob(pattern)) or is_made(name)


def is_made(name: str) -> bool:
    """Whether a command makes it: git ignores it, or it is named above."""
    return name in MADE or subprocess.run(["git", "check-ignore", "-q", name], cwd=PROJECT).returncode == 0


def is_module(name: str) -> bool:
    """Whether it can be imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a package above it
        return False


def stale(text: str, document: Path, folders: set[str]) -> list[str]:
    """What a document names that does not exist."""
    found = []
    for name in QUOTED.findall(text):
        path = PATH.fullmatch(name)
        if path and (name.endswith(".py") or ("/" in name and name.partition("/")[0] in folders)):
            found += [] if is_there(name, document) else [name]
    for name in LINK.findall(text):
        if "://" not in name and not (document.parent / name).exists():
            found.append(name)
    for name in MODULE.findall(text):
        top = name.partition(".")[0]
        if top in folders and not is_module(name.rstrip(".")):
            found.append(name)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents__name_what_exists(document: Path) -> None:
    text = MIGRATION.sub("", document.read_text(encoding="utf-8"))
    assert stale(text, document, tracked_folders()) == []


def test_security__names_tests_that_exist() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (PROJECT / "tests").rglob("*.py")]
    defined = {name for source in sources for name in re.findall(r"def (test_\w+)", source)}
    files = {path.stem for path in (PROJECT / "tests").rglob("test_*.py")}
    named = {name for name in QUOTED.findall((PROJECT / "SECURITY.md").read_text()) if TEST.fullmatch(name)}
    absent = {name for name in named - files if not any(one.startswith(name) for one in defined)}
    assert len(named) > 20
    assert absent == set()


def test_stale__sees_what_moved() -> None:
    text = "`handoff/bundle.py`, `runtime/nothing`, [x](../tracking/workspace.py), `python -m medtune.nothing`, `a/b`"
    document = PROJECT / "docs" / "methods.md"
    expected = ["handoff/bundle.py", "runtime/nothing", "../tracking/workspace.py", "medtune.nothing"]
    assert stale(text, document, tracked_folders()) == expected
