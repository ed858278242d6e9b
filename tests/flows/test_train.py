"""Tests of invalid input: one line on stderr, exit code 2 and no heavy imports."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
SCRIPT = """
import atexit, sys
from medtune.cli.main import main
atexit.register(lambda: print(sorted({"torch", "prefect", "wandb"} & set(sys.modules))))
sys.argv.insert(1, "train")
main()
"""


def train(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", SCRIPT, *arguments], cwd=PROJECT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "frozen.epoch=3"], "frozen.epoch: unknown key (did you mean 'epochs'?)"),
        (["--set", "model.head.kind=cdmt"], "did you mean 'cdtm'?"),
        (["--set", "data.split.test_fold=7"], "data.split.test_fold=7: folds are numbered 0 to 4"),
        (["--params", "nowhere.yaml"], "nowhere.yaml: the file does not exist"),
        ([], "medtune data"),
    ],
    ids=["key", "head", "fold", "file", "not-prepared"],
)
def test_invalid_input__is_one_line_and_exits_with_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    process = train("--out", str(tmp_path / "out"), *arguments)
    assert process.returncode == 2
    assert message in process.stderr
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1
    assert process.stdout == "[]\n"
    assert not (tmp_path / "out").exists()
