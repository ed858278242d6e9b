"""Tests of the license list: package metadata, the policy, and rejection of unknown licenses."""

import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.requirements.conftest import load

PROJECT = Path(__file__).resolve().parents[2]
ALLOWED = frozenset({"MIT", "BSD-3-Clause", "Apache-2.0"})
MOZILLA = "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)"


@pytest.fixture(scope="module")
def licenses() -> ModuleType:
    return load("licenses")


def test_locked__reads_names_versions_and_markers(licenses: ModuleType) -> None:
    lock = "Ruamel_Yaml==0.19 \\\n    --hash=sha256:00\npywin32==312 ; sys_platform == 'never' \\\n"
    assert [tuple(package) for package in licenses.locked(lock)] == [
        ("ruamel-yaml", "0.19", True),
        ("pywin32", "312", False),
    ]


@pytest.mark.parametrize(
    ("expression", "text", "classifiers", "expected"),
    [
        ("MIT OR Apache-2.0", "ignored", [], "MIT OR Apache-2.0"),
        (None, "MIT", [MOZILLA], "MIT"),
        (None, "Apache 2.0", [], "Apache-2.0"),
        (None, "Dual License", [MOZILLA, "License :: OSI Approved :: MIT License"], "MPL-2.0 AND MIT"),
        (None, "Copyright\nall the text of a license", ["License :: OSI Approved :: BSD License"], "BSD"),
        (None, "GPLv2 with linking exception", [], "GPLv2 with linking exception"),
        (None, "Some text\nover two lines", ["Programming Language :: Python"], "Some text"),
        (None, "UNKNOWN", ["License :: OSI Approved"], "unknown"),
        (None, None, [], "unknown"),
    ],
)
def test_license_of__uses_the_most_precise_field(
    licenses: ModuleType, expression: str | None, text: str | None, classifiers: list[str], expected: str
) -> None:
    assert licenses.license_of(expression, text, classifiers) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("MIT OR GPL-3.0-only AND Unlicense", True),
        ("MIT AND GPL-3.0-only", False),
        ("(GPL-3.0-only OR MIT) AND Apache-2.0", True),
        ("(GPL-3.0-only OR MIT) AND Unlicense", False),
        ("Apache-2.0 WITH LLVM-exception AND MIT", True),
        ("GPL-2.0-only WITH GCC-exception-2.0", False),
        ("MIT with strings attached", False),
        ("MIT AND", False),
        ("(MIT", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_is_allowed__evaluates_expressions(licenses: ModuleType, expression: str, expected: bool) -> None:
    assert licenses.is_allowed(expression, ALLOWED) is expected


def test_mark__names_copyleft_and_unknown(licenses: ModuleType) -> None:
    policy = licenses.Policy(ALLOWED, {})
    marks = {name: licenses.mark(name, policy) for name in ("MIT", "LGPL-3.0-only", "AGPL-3.0-only", "EPL-2.0")}
    assert marks == {"MIT": "", "LGPL-3.0-only": "copyleft", "AGPL-3.0-only": "copyleft", "EPL-2.0": "not permissive"}
    assert licenses.mark("unknown", policy) == "unknown"


@pytest.mark.parametrize(
    ("license", "exceptions", "fails"),
    [
        ("MIT", {}, False),
        ("MPL-2.0", {}, True),
        ("MPL-2.0", {"a": "MPL-2.0"}, False),
        ("GPL-3.0-only", {"a": "MPL-2.0"}, True),  # the package changed its license
        ("unknown", {}, True),
        (None, {}, True),  # not installed
        (None, {"a": "MPL-2.0"}, False),
    ],
)
def test_report__fails_for_the_runtime_locks_only(
    licenses: ModuleType, monkeypatch: pytest.MonkeyPatch, license: str | None, exceptions: dict[str, str], fails: bool
) -> None:
    monkeypatch.setattr(licenses, "installed_license", lambda name: license)
    policy = licenses.Policy(ALLOWED, exceptions)
    package = licenses.Package("a", "1.0", True)
    assert bool(licenses.report({"dev": [package], "serve": [package]}, policy)[1]) is fails
    assert licenses.report({"dev": [package], "serve": []}, policy)[1] == []
    assert licenses.report({"dev": [], "serve": [package._replace(here=False)]}, policy)[1] == []


def test_policy__exceptions_have_reasons_and_name_locked_packages(licenses: ModuleType) -> None:
    table: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["medtune"]["licenses"]
    policy = licenses.read_policy(table)
    locks = [licenses.locked((PROJECT / "requirements" / f"{name}.lock").read_text()) for name in licenses.RUNTIME]
    assert policy.exceptions.keys() <= {package.name for lock in locks for package in lock}
    assert not {"GPL-3.0-only", "AGPL-3.0-only", "LGPL-3.0-only", "MPL-2.0", "unknown"} & policy.allowed
    with pytest.raises(ValueError, match="has no reason"):
        licenses.read_policy({"allowed": [], "exceptions": [{"packages": ["a"], "license": "MIT"}]})


def test_main__accepts_the_locked_packages(licenses: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    code = licenses.main()
    output = capsys.readouterr()
    assert (code, output.err) == (0, "")
    assert any(line.split()[0] == "numpy" and "BSD-3-Clause" in line for line in output.out.splitlines())
