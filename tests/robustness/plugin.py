"""pytest hooks for fault injection: count the faults, resume an interrupted run, print the table.

A test of tests/robustness declares its kind with
`pytestmark = pytest.mark.faults(row=5, title="what is injected", target="what must hold")`. It counts each fault with
the fixture `faults` and fails if one is lost.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from medtune.config.project import PROJECT
from medtune.runtime.artifact import digest, file_sha256, write_text
from tests.robustness.faults import Faults, Kind, table
from tests.robustness.profile import is_full

PAGE = PROJECT / "docs" / "reliability.md"
SOURCES = (".py", ".yaml", ".toml", ".lock", ".safetensors")
EXCLUDED_FOLDERS = {".git", ".venv", ".cache", "artifacts", "published", "wandb", "node_modules", "__pycache__"}
MAX_LINES = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("torture", "fault injection (make torture)")
    group.addoption("--fresh", action="store_true", help="repeat tests that an earlier run has passed")
    group.addoption("--save", action="store_true", help="write the table to docs/reliability.md")
    group.addoption("--results", type=Path, default=PROJECT / ".cache" / "torture", help="folder of passed tests")


@pytest.hookimpl(trylast=True)  # after hypothesis has loaded the profile of the command line
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "faults(row, title, target): injects faults; one row of docs/reliability.md")
    if config.getoption("--save"):
        option = config.option
        if not is_full() or option.keyword or option.markexpr or option.deselect or _selects_files(config.args):
            raise pytest.UsageError(
                "--save: needs every test in full. Use --hypothesis-profile torture, without files, -k, -m, --deselect"
            )
    if is_full():
        config.pluginmanager.register(Torture(config), "torture")


@pytest.fixture
def faults(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Generator[Faults]:
    """Counts of the test's faults. The test fails if it counts none, or a lost one."""
    if not request.node.get_closest_marker("faults"):
        pytest.fail("the fixture `faults` needs pytest.mark.faults(row, title, target)", pytrace=False)
    counts = Faults()
    yield counts
    record_property("faults", asdict(counts))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    result = yield
    counts = pyfuncitem.funcargs.get("faults")
    if isinstance(counts, Faults):
        if counts.lost:
            pytest.fail("\n".join(counts.lost[:MAX_LINES]), pytrace=False)
        if counts.not_tried:
            pytest.skip("; ".join(counts.not_tried))
        if not counts.injected:
            pytest.fail("the test injected no fault", pytrace=False)
    return result


class Torture:
    """Results of `make torture`: one file per passed test, so that an interrupted run resumes."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.is_worker = hasattr(config, "workerinput")
        self.kinds: dict[str, Kind] = {}
        self.seconds: dict[str, float] = {}
        self.failures: dict[str, str] = {}
        self.skips: dict[str, str] = {}
        self.folder: Path = config.getoption("--results")
        self.source = source_digest()
        self.passed = {} if config.getoption("--fresh") else self._load()

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        others = [item for item in items if "faults" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]
        for item in items:
            if marker := item.get_closest_marker("faults"):
                item.user_properties.append(("kind", marker.kwargs))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if record := self.passed.get(item.nodeid):
            item.user_properties.append(("passed", record))
            pytest.skip("passed in an earlier run of the same sources")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self.is_worker:
            return
        name = report.nodeid
        self.seconds[name] = self.seconds.get(name, 0.0) + report.duration
        if report.failed:
            self.failures[name] = _message(report)
        elif isinstance(report.longrepr, tuple):
            self.skips[name] = report.longrepr[2].removeprefix("Skipped: ")
        if report.when in ("setup", "call"):  # otherwise the last report: teardown, or a worker that crashed
            return
        properties: dict[str, Any] = dict(report.user_properties)
        record = {"faults": properties.get("faults", {}), "seconds": self.seconds[name], **properties.get("kind", {})}
        record = properties.get("passed", record)
        counts = Faults(**record["faults"])
        if name in self.failures and not counts.lost:
            counts.count(name, self.failures[name])
        if name in self.skips and not counts.injected and not counts.not_tried:
            counts.not_tried.append(self.skips[name])
        kind = self.kinds.setdefault(_kind_name(name), Kind(_kind_name(name)))
        kind.add(counts, record)
        if counts.verdict == "yes":
            content = {"source": self.source, "test": name, "record": record}
            write_text(self._path(name), json.dumps(content, indent=2) + "\n")
        else:
            self._path(name).unlink(missing_ok=True)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for kind in self.kinds.values():
            for line in [*kind.faults.lost, *(f"not tried: {reason}" for reason in kind.faults.not_tried)][:MAX_LINES]:
                terminalreporter.write_line(f"{kind.name}: {line}")
        terminalreporter.write_line("\n" + table(self.kinds.values()) + "\n")
        if missed := self._missed():
            terminalreporter.write_line(f"targets not met: {', '.join(missed)}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.is_worker or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return
        if self._missed():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.config.getoption("--save"):
            page, text = PAGE.read_text(encoding="utf-8"), table(self.kinds.values())
            write_text(PAGE, re.sub(r"(?s)(<!-- table -->\n).*(\n<!-- end -->)", lambda m: m[1] + text + m[2], page))

    def _missed(self) -> list[str]:
        return sorted(kind.name for kind in self.kinds.values() if kind.faults.verdict != "yes")

    def _load(self) -> dict[str, dict[str, Any]]:
        passed = {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                Faults(**content["record"]["faults"])
                if content["source"] == self.source:
                    passed[content["test"]] = content["record"]
            except (ValueError, KeyError, TypeError):  # damaged, or of another version: repeat the test
                continue
        return passed

    def _path(self, nodeid: str) -> Path:
        return self.folder / f"{_kind_name(nodeid)}-{hashlib.sha256(nodeid.encode()).hexdigest()[:16]}.json"


def source_digest() -> str:
    """Return a digest of the project's source files. Results of other sources do not count."""
    hashes = {}
    for folder, subfolders, names in os.walk(PROJECT):
        subfolders[:] = set(subfolders) - EXCLUDED_FOLDERS
        for path in (Path(folder, name) for name in names if name.endswith(SOURCES)):
            if path.is_file():
                hashes[path.relative_to(PROJECT).as_posix()] = file_sha256(path)
    return digest(dict(sorted(hashes.items())))


def _selects_files(arguments: list[str]) -> bool:
    return any(Path(argument.split("::")[0]).suffix == ".py" for argument in arguments)


def _message(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message.splitlines()[:1] if crash else report.longreprtext.splitlines()[-1:]
    return "".join(text).removeprefix("Failed: ")


def _kind_name(nodeid: str) -> str:
    return Path(nodeid.split("::")[0]).stem.removeprefix("test_")
