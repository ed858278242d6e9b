"""Help pages and usage errors of `medtune`."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_args

import pytest

from medtune.cli import main, options
from medtune.cli.main import call
from medtune.config.project import PROJECT
from medtune.serving.bundle import SAMPLE_TOLERANCE
from medtune.serving.session import PROVIDERS


def walk(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the words and the command object of every command and group below `command`; None is `medtune`."""
    if command is None:
        for name in main.COMMANDS:
            yield from walk(main.load(name), (name,))
        return
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, (*words, name))


EVERY = dict(walk())
HEAVY = ("torch", "timm", "peft", "prefect", "wandb", "dvc", "onnx", "onnxruntime", "sklearn", "matplotlib")


def test_help__lists_every_command_in_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["--help"]) == 0
    out = capsys.readouterr().out
    for name, entry in main.COMMANDS.items():
        assert f" {name} " in out
        assert entry.panel in out


def test_version__is_that_of_the_installation(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(["--version"]) == 0
    assert capsys.readouterr().out == f"medtune {version('medtune')}\n"

    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", absent)
    assert call(["--version"]) == 0
    assert "not installed" in capsys.readouterr().out


@pytest.mark.parametrize("name", main.COMMANDS)
def test_summary__is_the_first_line_of_the_command(name: str) -> None:
    help_text = main.load(name).help
    assert help_text.partition("\n")[0] == main.COMMANDS[name].summary


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_help__has_an_example_that_names_the_command(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call([*words, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example" in out
    assert f"medtune {words[0]}" in out.partition("Example")[2]


def test_help__of_every_command_imports_nothing_heavy() -> None:
    code = f"""
import contextlib, io, json, sys
from medtune.cli.main import call
found = {{}}
for words in {[*EVERY, ()]!r}:
    with contextlib.redirect_stdout(io.StringIO()):
        assert call([*words, "--help"]) == 0
    found[" ".join(words)] = sorted(sys.modules.keys() & set({HEAVY!r}))
print(json.dumps(found))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert [words for words, heavy in json.loads(done.stdout).items() if heavy] == []


def test_help__takes_at_most_half_a_second_of_cpu() -> None:
    seconds = float("inf")
    for _ in range(10):  # a busy processor is slower, so the best of several runs counts
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "medtune", "--help"], cwd=PROJECT, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = min(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if seconds <= 0.5:
            break
    assert seconds <= 0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "'train'"),
        (["train", "--prams", "x"], "--params"),
        (["params", "shwo"], "'show'"),
        (["predict"], "BUNDLE"),
        (["services", "up", "extra"], "extra"),
        (["predict", "x", "y", "--precision", "fp8"], "fp8"),
    ],
    ids=" ".join,
)
def test_usage__error_is_one_line_with_a_suggestion_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert "--help`" in error


def test_choices__match_serving() -> None:
    assert get_args(get_args(options.Precision)[0]) == tuple(SAMPLE_TOLERANCE)
    assert get_args(get_args(options.Provider)[0]) == tuple(PROVIDERS)


def test_completion__completes_commands_without_importing_them() -> None:
    ask = {"_MEDTUNE_COMPLETE": "complete_bash", "COMP_WORDS": "medtune re", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", "from medtune.cli.main import main; main()"]
    done = subprocess.run(command, env={**os.environ, **ask}, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert set(done.stdout.split()) == {name for name in main.COMMANDS if name.startswith("re")}


@pytest.mark.parametrize("words", [["status"], ["params", "show"], ["train"], ["data"], ["benchmark"]], ids=" ".join)
def test_outside_a_project__one_line_names_init(words: list[str], tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MEDTUNE_PROJECT"}
    environment["PYTHONPATH"] = str(PROJECT)
    done = subprocess.run([sys.executable, "-m", "medtune", *words], cwd=tmp_path, env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "`medtune init`" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_outside_a_project__params_are_taken_over_the_shipped_defaults(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 7\n")
    command = [sys.executable, "-m", "medtune", "params", "show", "--params", "mine.yaml", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    shown = json.loads(done.stdout)
    assert (shown["seed"], shown["data"]["source"]) == (7, "synthetic")
