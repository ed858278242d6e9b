"""Tests that a failed check in a subprocess is named and does not affect the next check."""

import os

import pytest

from medtune.config.load import load
from medtune.doctor import subprocess_check
from medtune.doctor.subprocess_check import CheckError, Questions

MODULES = {
    "seed_question": "import json, os, sys\nprint('text')\n"
    "print(json.dumps({'seed': json.load(sys.stdin)['seed'], 'parent': os.getppid(), 'name': __name__}))",
    "raising_question": "raise ValueError('invalid value')",
    "dying_question": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
    "leaving_question": "import sys\nprint('stopped', file=sys.stderr)\nsys.exit(3)",
    "hanging_question": "import time\ntime.sleep(60)",
    "killing_question": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
}


@pytest.fixture
def questions(tmp_path, monkeypatch):
    for name, code in MODULES.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    checks = Questions(preloaded=())
    yield checks
    checks.close()


def test_ask__failed_process_is_named(questions):
    params = load(sets=["seed=7"])
    first = questions.ask("seed_question", params, 60)
    assert (first["seed"], first["name"]) == (7, "__main__")
    for module, message in (
        ("raising_question", "ValueError: invalid value"),
        ("dying_question", "exit code -11"),
        ("leaving_question", "stopped"),
    ):
        with pytest.raises(CheckError, match=f"^{module}: {message}$"):
            questions.ask(module, params, 60)
    repeated = questions.ask("seed_question", params, 60)
    assert repeated == first  # a child of the same process


def test_ask__hanging_process_is_named(questions):
    params = load(sets=["seed=7"])
    first = questions.ask("seed_question", params, 60)
    with pytest.raises(CheckError, match=r"^hanging_question did not respond within 1 s$"):
        questions.ask("hanging_question", params, 1)
    second = questions.ask("seed_question", params, 60)
    with pytest.raises(CheckError, match=r"^killing_question: exit code -9$"):
        questions.ask("killing_question", params, 60)
    third = questions.ask("seed_question", params, 60)
    assert len({result["parent"] for result in (first, second, third)}) == 3
    assert first["seed"] == second["seed"] == third["seed"]


def test_ask__works_without_fork(questions, monkeypatch):
    monkeypatch.setattr(subprocess_check, "CAN_FORK", False)
    assert questions.ask("seed_question", load(sets=["seed=7"]), 60)["parent"] == os.getpid()
    with pytest.raises(CheckError, match=r"^leaving_question: stopped$"):
        questions.ask("leaving_question", load(), 60)
