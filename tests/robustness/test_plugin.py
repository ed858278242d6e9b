"""Framework of the fault injection: counts, verdicts, the table, and resuming of interrupted runs."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import settings

from medtune.config.project import PROJECT
from tests.robustness import plugin
from tests.robustness.faults import Faults, Kind, table

MARK = """
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults(row=7, title="flipped bits", target="all detected")
"""
# The second test depends on the file `effect`.
TWO_TESTS = f"""{MARK}
@pytest.mark.parametrize("name", ["first", "second"])
def test_flip(faults, name):
    effect = Path("effect").read_text() if name == "second" and Path("effect").exists() else None
    if effect == "interrupt":
        raise KeyboardInterrupt
    if effect == "crash":
        os._exit(1)
    faults.count(name, effect)
    faults.measure("number of files", 3)

def test_without_faults():
    pass
"""
OPTIONS = ("-p", "tests.robustness.plugin", "-p", "no:cacheprovider")


@pytest.fixture(autouse=True)
def project(pytester, monkeypatch):
    """Run pytest in a project of its own, whose only sources are the test files."""
    pytester.makeconftest("from hypothesis import settings\nsettings.register_profile('torture')")
    monkeypatch.setattr(plugin, "PROJECT", pytester.path)
    monkeypatch.setenv("MEDTUNE_PROJECT", str(pytester.path))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT), prepend=os.pathsep)


@pytest.fixture
def run_small(pytester):
    return lambda: pytester.runpytest_inprocess(*OPTIONS)


@pytest.fixture
def torture(pytester):
    """Return a function that runs the tests like `make torture`."""
    profile = settings.get_current_profile_name()

    def run(*options, run=pytester.runpytest_inprocess):
        return run(*OPTIONS, "--hypothesis-profile=torture", f"--results={pytester.path / 'results'}", *options)

    yield run
    settings.load_profile(profile)


def row(result):
    return next(line for line in result.outlines if line.startswith("| 7 |"))


def test_run__prints_the_table_of_the_tests_with_faults(pytester, torture):
    pytester.makepyfile(test_flip=TWO_TESTS)
    result = torture()
    result.assert_outcomes(passed=2, deselected=1)
    assert result.ret == 0
    expected = (
        r"\| 7 \| flipped bits \(`flip`\) \| all detected \| 2; number of files: 6 \| 2 \| 0 \| yes \| \d+\.\d \|"
    )
    assert re.fullmatch(expected, row(result))


def test_run__a_lost_fault_fails_the_test_and_misses_the_target(pytester, run_small, torture):
    pytester.makepyfile(test_flip=TWO_TESTS)
    Path("effect").write_text("was used")
    small = run_small()
    small.assert_outcomes(passed=2, failed=1)
    assert "targets not met" not in small.stdout.str()
    result = torture()
    result.assert_outcomes(passed=1, failed=1, deselected=1)
    assert result.ret == 1
    assert " | 2; number of files: 6 | 1 | 1 | NO | " in row(result)
    result.stdout.fnmatch_lines(["flip: second: was used", "targets not met: flip"])


def one_test(*lines, decorator="", fixtures="faults"):
    return "\n".join([MARK, decorator, f"def test_flip({fixtures}):", *(f"    {line}" for line in lines)])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (one_test("pass"), "the test injected no fault"),
        (one_test("pass").replace(MARK, ""), "the fixture `faults` needs pytest.mark.faults*"),
        (one_test("faults.count('bit', None)", "raise OSError('disk' + chr(10) + 'full')"), "OSError: disk"),
    ],
    ids=["no fault", "no marker", "exception"],
)
def test_run__an_invalid_test_fails(pytester, run_small, torture, source, message):
    pytester.makepyfile(test_flip=source)
    assert run_small().ret == 1
    result = torture()
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"flip: *::test_flip: {message}", "targets not met: flip"])


@pytest.mark.parametrize(
    "source",
    [
        one_test("faults.count('bit', None)", "faults.not_tried.append('no mounts')"),
        one_test("pass", decorator="@pytest.mark.skip('no mounts')"),
        one_test("pytest.skip('no mounts')"),
        one_test("pass", decorator="@pytest.fixture\ndef mount(): pytest.skip('no mounts')", fixtures="mount, faults"),
    ],
    ids=["in part", "by marker", "in test", "in fixture"],
)
def test_run__a_fault_that_was_not_tried_misses_the_target(pytester, run_small, torture, source):
    pytester.makepyfile(test_flip=source)
    small = run_small()
    small.assert_outcomes(skipped=1)
    assert small.ret == 0
    for _ in range(2):  # it is tried again
        result = torture()
        assert result.ret == 1
        assert " | 0 | not shown | " in row(result)
        result.stdout.fnmatch_lines(["flip: not tried: no mounts", "targets not met: flip"])


def test_run__a_second_run_skips_what_passed_and_prints_the_same_row(pytester, torture):
    pytester.makepyfile(test_flip=TWO_TESTS)
    first, second = torture(), torture()
    first.assert_outcomes(passed=2, deselected=1)
    second.assert_outcomes(skipped=2, deselected=1)
    assert second.ret == 0
    assert row(second) == row(first)


def test_run__fresh_repeats_what_passed(pytester, torture):
    pytester.makepyfile(test_flip=TWO_TESTS)
    torture()
    Path("effect").write_text("was used")
    torture("--fresh").assert_outcomes(passed=1, failed=1, deselected=1)
    Path("effect").unlink()
    torture().assert_outcomes(passed=1, skipped=1, deselected=1)  # the earlier success does not count


def test_run__changed_sources_repeat_what_passed(pytester, torture):
    pytester.makepyfile(test_flip=TWO_TESTS)
    torture()
    Path("module.py").write_text("x = 1\n")
    torture().assert_outcomes(passed=2, deselected=1)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"record": {"faults": {"x": 1}}}'])
def test_run__a_damaged_record_repeats_the_test(pytester, torture, content):
    pytester.makepyfile(test_flip=TWO_TESTS)
    torture()
    next(Path("results").glob("flip-*.json")).write_text(content)
    torture().assert_outcomes(passed=1, skipped=1, deselected=1)


def test_run__an_interrupted_run_resumes(pytester, torture):
    pytester.makepyfile(test_flip=TWO_TESTS)
    Path("effect").write_text("interrupt")
    assert torture(run=pytester.runpytest_subprocess).ret == pytest.ExitCode.INTERRUPTED
    Path("effect").unlink()
    result = torture()
    result.assert_outcomes(passed=1, skipped=1, deselected=1)
    assert " | 2; number of files: 6 | 2 | 0 | yes | " in row(result)


@pytest.mark.slow
def test_run__a_crash_is_a_lost_fault_and_is_repeated(pytester, torture):
    pytester.makepyfile(test_flip=TWO_TESTS)
    Path("effect").write_text("crash")
    result = torture("-n1", run=pytester.runpytest_subprocess)
    assert result.ret == 1
    assert " | 2; number of files: 3 | 1 | 1 | NO | " in row(result)
    result.stdout.fnmatch_lines(["flip: *::test_flip?second?: worker 'gw0' crashed while running *"])
    Path("effect").unlink()
    result = torture()
    result.assert_outcomes(passed=1, skipped=1, deselected=1)
    assert " | 2; number of files: 6 | 2 | 0 | yes | " in row(result)


def test_save__writes_the_table_between_the_markers(pytester, monkeypatch, torture):
    pytester.makepyfile(test_flip=TWO_TESTS)
    page = pytester.path / "page.md"
    page.write_text("before\n<!-- table -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(plugin, "PAGE", page)
    result = torture("--save")
    lines = page.read_text().splitlines()
    assert lines[:2] + lines[-2:] == ["before", "<!-- table -->", "<!-- end -->", "after"]
    assert lines[2].startswith("| # | test | target |")
    assert lines[4:-2] == [row(result)]


@pytest.mark.parametrize(
    "option", [("-k", "first"), ("-m", "slow"), ("test_flip.py",), ("--hypothesis-profile=default",)]
)
def test_save__refuses_a_part_of_the_tests(pytester, torture, option):
    pytester.makepyfile(test_flip=TWO_TESTS)
    result = torture("--save", *option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --save: needs every test in full*"])


def test_examples__draw_the_number_of_the_profile(pytester, run_small, torture):
    source = """
from hypothesis import given, strategies
from tests.robustness.profile import examples, scale

@examples(small=2, full=30)
@given(strategies.integers())
def test_flip(faults, value):
    faults.count("bit", None)
    faults.measure("scale", scale(small=4, full=5))
    Path("count").write_text(str(faults.injected))
"""
    pytester.makepyfile(test_flip=MARK + source)
    run_small().assert_outcomes(passed=1)
    assert Path("count").read_text() == "2"
    assert "| 30; scale: 5 | 30 | 0 | yes |" in row(torture())


def test_source_digest__changes_with_the_sources_only(pytester):
    before = plugin.source_digest()
    for name in ("notes.txt", ".venv/lib/module.py", "artifacts/run/params.yaml"):
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert plugin.source_digest() == before
    pytester.mkdir("package").joinpath("settings.yaml").write_text("x")
    assert plugin.source_digest() != before


def test_faults__add_sums_the_counts_and_keeps_the_maximum():
    total = Faults()
    for problem, difference in ((None, 0.1), ("was used", 0.3), (None, 0.2)):
        faults = Faults(not_tried=["no mounts"] if problem else [])
        faults.count("flip", problem)
        faults.measure("number of files", 1)
        faults.measure("greatest difference", difference)
        total.add(faults)
    measured = {"number of files": 3, "greatest difference": 0.3}
    assert total == Faults(3, 2, ["flip: was used"], measured, ["no mounts"])


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        (Faults(3, 3), "yes"),
        (Faults(3, 2, ["flip: was used"]), "NO"),
        (Faults(3, 2), "NO"),
        (Faults(3, 3, not_tried=["no mounts"]), "not shown"),
        (Faults(3, 2, ["flip: was used"], not_tried=["no mounts"]), "NO"),
        (Faults(), "not shown"),
    ],
)
def test_verdict(counts, verdict):
    assert counts.verdict == verdict


def test_table__is_sorted_by_row():
    faults = Faults(10_000, 9_999, ["x: y"], {"greatest difference": 3e-16})
    kinds = [Kind("metrics", 12, "random cases", "<= 1e-9", faults, 90), Kind("kill", 1, "kill -9", "resumes")]
    assert table(kinds).splitlines()[2:] == [
        "| 1 | kill -9 (`kill`) | resumes | 0 | 0 | 0 | not shown | 0.0 |",
        "| 12 | random cases (`metrics`) | <= 1e-9 | 10,000; greatest difference: 3e-16 | 9,999 | 1 | NO | 1.5 |",
    ]
