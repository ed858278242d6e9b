from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.data.manifest import Prepared
from medtune.flows import pipeline
from medtune.runtime.artifact import Artifact, partial, publish, write_text
from medtune.runtime.paths import Paths

PREPARED: Any = SimpleNamespace(digest="d", roles_digest=lambda fold: f"roles {fold}", info={})
SMALL = ["model.weights=none"]


def made(paths: Paths, step: pipeline.Step, says: str = "") -> Artifact:
    folder = paths.stage(step.stage, step.fold)
    write_text(partial(folder) / "says.txt", f"{step.name} {says}")
    return publish(folder, step.key, {"fold": step.fold, "classes": ["a", "b"]})


def names_of(*sets: str, paths: Paths, prepared: Prepared = PREPARED) -> list[str]:
    names: list[str] = []

    def execute(step: pipeline.Step) -> Artifact:
        names.append(step.name)
        return made(paths, step)

    pipeline.walk(load(sets=[*SMALL, *sets]), prepared, execute)
    return names


@pytest.mark.parametrize(
    ("schedule", "steps"),
    [
        ("frozen", ["frozen fold 1", "evaluate", "export"]),
        ("full", ["finetune fold 1", "evaluate", "export"]),
        ("staged", ["frozen fold 1", "finetune fold 1", "evaluate", "export"]),
    ],
)
def test_walk__steps_of_each_schedule(schedule: str, steps: list[str], tmp_path: Path) -> None:
    assert names_of(f"schedule={schedule}", paths=Paths.at(tmp_path)) == steps


def test_walk__all_folds_are_chains_before_one_evaluation(tmp_path: Path) -> None:
    sets = ("schedule=frozen", "data.split.folds=3", "data.split.test_fold=all")
    expected = ["frozen fold 0", "frozen fold 1", "frozen fold 2", "evaluate", "export"]
    assert names_of(*sets, paths=Paths.at(tmp_path)) == expected


@pytest.fixture
def runner(tmp_path: Path) -> Callable[..., list[tuple[str, bool]]]:
    paths = Paths.at(tmp_path)

    def run(*sets: str) -> list[tuple[str, bool]]:
        params = load(sets=[*SMALL, *sets])
        steps = pipeline.run(params, paths, PREPARED, lambda step, found: found or made(paths, step, str(sets)))
        return [(done.step.name, done.cached) for done in steps]

    return run


def ran(steps: list[tuple[str, bool]]) -> list[str]:
    return [name for name, cached in steps if not cached]


def test_run__second_time_is_all_cached(
    runner: Callable[..., list[tuple[str, bool]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(ran(runner())) == 4
    assert ran(runner()) == []
    assert capsys.readouterr().out.count("frozen fold 1: cached (key ") == 1


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ("frozen.lr=0.5", ["frozen fold 1", "finetune fold 1", "evaluate", "export"]),
        ("finetune.lr=0.5", ["finetune fold 1", "evaluate", "export"]),
        ("evaluate.bootstrap=123", ["evaluate", "export"]),
        ("export.opset=21", ["export"]),
        ("tracking.project=other", []),
    ],
)
def test_run__change_runs_what_it_concerns(
    change: str, steps: list[str], runner: Callable[..., list[tuple[str, bool]]]
) -> None:
    runner()
    assert ran(runner(change)) == steps


def test_run__flipped_byte_runs_that_step_again(runner: Callable[..., list[tuple[str, bool]]], tmp_path: Path) -> None:
    runner()
    file = tmp_path / "artifacts" / "frozen" / "fold-1" / "says.txt"
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    assert ran(runner()) == ["frozen fold 1"]  # it came out as before, so what follows still stands


def test_complete__only_with_every_step(runner: Callable[..., list[tuple[str, bool]]], tmp_path: Path) -> None:
    params, paths = load(sets=SMALL), Paths.at(tmp_path)
    assert not pipeline.complete(params, paths, PREPARED)
    runner()
    assert pipeline.complete(params, paths, PREPARED)
    (tmp_path / "artifacts" / "export" / "says.txt").unlink()
    assert not pipeline.complete(params, paths, PREPARED)


def test_pipeline_key__knows_params_and_data_but_not_tracking() -> None:
    key = pipeline.pipeline_key(load(), PREPARED)
    assert pipeline.pipeline_key(load(sets=["tracking.project=other"]), PREPARED) == key
    assert pipeline.pipeline_key(load(sets=["seed=2"]), PREPARED) != key
    other: Any = SimpleNamespace(digest="other")
    assert pipeline.pipeline_key(load(), other) != key


def test_run_stage__fault_is_named_and_mistake_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params, paths = load(sets=SMALL), Paths.at(tmp_path)
    step = pipeline.Step("evaluate", None, "key", (Artifact(str(tmp_path), "key", "sha256"),))
    for raised, seen in ((ValueError("boom"), pipeline.StageFailed), (InputError("mistake"), InputError)):

        def run(*_: Any, raised: Exception = raised) -> Artifact:
            raise raised

        monkeypatch.setattr("medtune.stages.evaluate.run", run)
        with pytest.raises(seen, match=r"evaluate failed: ValueError: boom|mistake"):
            pipeline.run_stage(step, params, paths, "group")


def test_tidy__clears_what_the_chain_did_not_make(tmp_path: Path) -> None:
    paths = Paths.at(tmp_path)
    for fold in (0, 1):
        for stage in ("frozen", "finetune"):
            made(paths, pipeline.Step(stage, fold, "key"))
    partial(paths.stage("frozen", 0)).mkdir()
    partial(paths.stage("evaluate")).mkdir()
    pipeline.tidy(load(), paths)
    left = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "artifacts").rglob("*")}
    assert {name for name in left if name.count("/") < 3} == {
        *("artifacts/frozen", "artifacts/frozen/fold-1"), *("artifacts/finetune", "artifacts/finetune/fold-1")
    }  # fmt: skip
    pipeline.tidy(load(sets=["schedule=frozen"]), paths)
    assert [path.name for path in paths.stage("finetune").iterdir()] == ["README.txt"]
    assert "schedule: frozen" in (paths.stage("finetune") / "README.txt").read_text()
    pipeline.tidy(load(), paths)
    assert list(paths.stage("finetune").iterdir()) == []
