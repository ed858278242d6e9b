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
from medtune.serving.samples import SAMPLE_TOLERANCE
from medtune.serving.session import PROVIDERS


def walk(command: Any = None, arguments: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the arguments and the object of every command and group below `command`, by default of `medtune`."""
    if command is None:
        for name in main.COMMANDS:
            yield from walk(main.load(name), (name,))
        return
    yield arguments, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, (*arguments, name))


ALL_COMMANDS = dict(walk())
HEAVY = ("torch", "timm", "peft", "prefect", "wandb", "dvc", "onnx", "onnxruntime", "sklearn", "matplotlib")


def test_help__lists_every_command_in_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["--help"]) == 0
    out = capsys.readouterr().out
    for name, entry in main.COMMANDS.items():
        assert f" {name} " in out
        assert entry.panel in out


def test_version__is_the_installed_version(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(["--version"]) == 0
    assert capsys.readouterr().out == f"medtune {version('medtune')}\n"

    def raise_not_found(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", raise_not_found)
    assert call(["--version"]) == 0
    assert "not installed" in capsys.readouterr().out


@pytest.mark.parametrize("name", main.COMMANDS)
def test_summary__is_the_first_line_of_the_command(name: str) -> None:
    help_text = main.load(name).help
    assert help_text.partition("\n")[0] == main.COMMANDS[name].summary


def test_predict_help__fits_into_80_columns() -> None:
    _, *lines = main.load("predict").help.splitlines()
    assert max(map(len, lines)) <= 78
    for kind in (
        "Classification of images",
        "Classification of slides",
        "Segmentation of volumes",
        "Segmentation of images",
    ):
        assert any(line.startswith(kind) for line in lines)


@pytest.mark.parametrize("arguments", ALL_COMMANDS, ids=" ".join)
def test_help__has_an_example_that_names_the_command(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call([*arguments, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example" in out
    assert f"medtune {arguments[0]}" in out.partition("Example")[2]


def test_help__example_shows_a_list_in_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["export", "--help"]) == 0
    assert "export.precisions=[fp32, int8]" in capsys.readouterr().out


def test_help__imports_no_heavy_package() -> None:
    code = f"""
import contextlib, io, json, sys
from medtune.cli.main import call
imported = {{}}
for arguments in {[*ALL_COMMANDS, ()]!r}:
    with contextlib.redirect_stdout(io.StringIO()):
        assert call([*arguments, "--help"]) == 0
    imported[" ".join(arguments)] = sorted(sys.modules.keys() & set({HEAVY!r}))
print(json.dumps(imported))"""
    process = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert [arguments for arguments, heavy in json.loads(process.stdout).items() if heavy] == []


def test_help__takes_at_most_half_a_second_of_cpu() -> None:
    seconds = float("inf")
    for _ in range(10):  # the fastest of several runs, because a busy processor is slower
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "medtune", "--help"], cwd=PROJECT, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = min(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if seconds <= 0.5:
            break
    assert seconds <= 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "'train'"),
        (["train", "--prams", "x"], "--params"),
        (["params", "shwo"], "'show'"),
        (["predict"], "BUNDLE"),
        (["services", "up", "extra"], "error: extra: unexpected argument. See "),
        (["train", "--out"], "error: --out: a value is missing"),
        (["predict", "x", "y", "--precision", "fp8"], "--precision=fp8: expected one of 'fp32', "),
        (["serve", "x", "--port", "y"], "--port=y: expected an integer. See "),
        (["serve", "x", "--port", "99999"], "--port=99999: expected at most 65535. See "),
    ],
    ids=" ".join,
)
def test_usage__error_is_one_line_with_a_suggestion_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert "--help`" in error


def test_choices__match_serving() -> None:
    assert get_args(get_args(options.Precision)[0]) == tuple(SAMPLE_TOLERANCE)
    assert get_args(get_args(options.Provider)[0]) == tuple(PROVIDERS)


def test_completion__completes_commands_without_importing_them() -> None:
    completion = {"_MEDTUNE_COMPLETE": "complete_bash", "COMP_WORDS": "medtune re", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", "from medtune.cli.main import main; main()"]
    process = subprocess.run(
        command, env={**os.environ, **completion}, cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert set(process.stdout.split()) == {name for name in main.COMMANDS if name.startswith("re")}


@pytest.mark.parametrize(
    "arguments", [["status"], ["params", "show"], ["train"], ["data"], ["benchmark"]], ids=" ".join
)
def test_outside_a_project__one_line_names_init(arguments: list[str], tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MEDTUNE_PROJECT"}
    environment["PYTHONPATH"] = str(PROJECT)
    process = subprocess.run([sys.executable, "-m", "medtune", *arguments], cwd=tmp_path, env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1
    assert "`medtune init`" in process.stderr
    assert list(tmp_path.iterdir()) == []


def test_outside_a_project__params_override_the_shipped_defaults(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 7\n")
    command = [sys.executable, "-m", "medtune", "params", "show", "--params", "mine.yaml", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    params = json.loads(process.stdout)
    assert (params["seed"], params["data"]["source"]) == (7, "synthetic")
