"""Tests of one-line errors for settings that do not support several processes."""

import pytest

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.stages import launch


@pytest.fixture(autouse=True)
def no_launcher_variables(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEDTUNE_DEVICE", "cpu")


def test_check__one_process_is_always_accepted():
    launch.check_launch(load(sets=["model.batchnorm=train"]), True)


@pytest.mark.parametrize(
    ("environment", "sets", "expected"),
    [
        ({"WORLD_SIZE": "2"}, ["model.batchnorm=train"], "model.batchnorm=train: .*, but WORLD_SIZE=2"),
        ({"WORLD_SIZE": "2", "MEDTUNE_DEVICE": "cuda:1"}, [], "MEDTUNE_DEVICE=cuda:1: .*, but WORLD_SIZE=2"),
        ({"WORLD_SIZE": "2", "MEDTUNE_DEVICE": "mps"}, [], "WORLD_SIZE=2: several processes are not supported on mps"),
        (
            {"WORLD_SIZE": "2"},
            ["data.source=slides", "schedule=frozen", "model.head.kind=attention_mil"],
            "model.head.kind=attention_mil: this head supports only one process, but WORLD_SIZE=2",
        ),
        (
            {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"},
            [],
            "--cpu ignores --num_processes",
        ),
    ],
)
def test_check__error_names_the_setting(monkeypatch, environment, sets, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=expected) as error:
        launch.check_launch(load(sets=sets), True)
    assert "\n" not in str(error.value)


def test_check__stage_1_alone_accepts_batchnorm(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    launch.check_launch(load(sets=["model.batchnorm=train"]), False)
