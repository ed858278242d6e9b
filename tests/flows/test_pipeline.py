from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medtune.config.errors import InputError, RunError
from medtune.config.load import load
from medtune.flows import pipeline
from medtune.runtime.artifact import Artifact, commit, partial_dir, write_text
from medtune.runtime.paths import RunPaths
from medtune.stages import data
from medtune.stages.steps import Step, Steps

SMALL = ["schedule=staged", "model.head.kind=cdtm",
         "model.weights=none", "data.image_size=16", "data.patients=20", "data.images_per_patient=1",
         "data.split.folds=3"]  # fmt: skip

FROZEN, FINETUNE = ([f"{stage} fold {fold}" for fold in range(3)] for stage in ("frozen", "finetune"))
STAGED = [*(name for pair in zip(FROZEN, FINETUNE, strict=True) for name in pair), "evaluate", "export"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare a data set that all tests of this module share."""
    paths = RunPaths.from_env(tmp_path_factory.mktemp("prepared"))
    data.run(load(sets=SMALL), paths)
    return paths.prepared


@pytest.fixture
def paths(tmp_path: Path, prepared: Path) -> RunPaths:
    return RunPaths(tmp_path, tmp_path / "cache", data=prepared)


def write_artifact(paths: RunPaths, step: Step, message: str = "") -> Artifact:
    folder = paths.stage(step.stage, step.fold)
    write_text(partial_dir(folder) / "output.txt", f"{step.name} {message}")
    return commit(folder, step.key, {"fold": step.fold, "classes": ["a", "b"]})


def names_of(paths: RunPaths, *sets: str) -> list[str]:
    steps = Steps(load(sets=[*SMALL, *sets]), paths)
    return [result.step.name for result in pipeline.run(steps, lambda step: write_artifact(paths, step))]


@pytest.mark.parametrize(
    ("schedule", "names"),
    [
        ("frozen", [*FROZEN, "evaluate", "export"]),
        ("full", [*FINETUNE, "evaluate", "export"]),
        ("staged", STAGED),
    ],
)
def test_run__schedule_determines_the_steps(schedule: str, names: list[str], paths: RunPaths) -> None:
    assert names_of(paths, f"schedule={schedule}") == names


def test_run__trains_all_folds_before_the_evaluation(tmp_path: Path) -> None:
    sets = ("schedule=frozen", "data.split.test_fold=all")
    data.run(load(sets=[*SMALL, *sets]), RunPaths.from_env(tmp_path))
    assert names_of(RunPaths.from_env(tmp_path), *sets) == [*FROZEN, "evaluate", "export"]


@pytest.fixture
def runner(paths: RunPaths) -> Callable[..., list[tuple[str, bool]]]:
    def run(*sets: str) -> list[tuple[str, bool]]:
        steps = Steps(load(sets=[*SMALL, *sets]), paths)
        results = pipeline.run(steps, lambda step: step.artifact or write_artifact(paths, step, str(sets)))
        return [(result.step.name, result.cached) for result in results]

    return run


def executed(steps: list[tuple[str, bool]]) -> list[str]:
    return [name for name, cached in steps if not cached]


def test_run__second_run_is_cached(
    runner: Callable[..., list[tuple[str, bool]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert executed(runner()) == STAGED
    assert executed(runner()) == []
    assert capsys.readouterr().out.count("frozen fold 1: cached (key ") == 1


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ("frozen.lr=0.5", STAGED),
        ("finetune.lr=0.5", [*FINETUNE, "evaluate", "export"]),
        ("evaluate.reliability_bins=12", ["evaluate", "export"]),
        ("export.opset=21", ["export"]),
        ("tracking.project=other", []),
    ],
)
def test_run__change_runs_only_affected_steps(
    change: str, steps: list[str], runner: Callable[..., list[tuple[str, bool]]]
) -> None:
    runner()
    assert executed(runner(change)) == steps


def test_run__flipped_byte_repeats_the_step(runner: Callable[..., list[tuple[str, bool]]], tmp_path: Path) -> None:
    runner()
    file = tmp_path / "artifacts" / "frozen" / "fold-1" / "output.txt"
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    assert executed(runner()) == ["frozen fold 1"]  # the result is identical, so later steps are reused


def test_is_complete__requires_every_step(runner: Callable[..., list[tuple[str, bool]]], paths: RunPaths) -> None:
    params = load(sets=SMALL)
    assert not pipeline.is_complete(Steps(params, paths))
    runner()
    assert pipeline.is_complete(Steps(params, paths))
    (paths.stage("export") / "output.txt").unlink()
    assert not pipeline.is_complete(Steps(params, paths))


def test_group__depends_on_params_and_data_not_on_tracking(paths: RunPaths, tmp_path: Path) -> None:
    group = Steps(load(sets=SMALL), paths).group
    assert Steps(load(sets=[*SMALL, "tracking.project=other"]), paths).group == group
    assert Steps(load(sets=[*SMALL, "seed=2"]), paths).group != group
    other_sets = [*SMALL, "data.images_per_patient=2"]
    data.run(load(sets=other_sets), RunPaths.from_env(tmp_path / "other"))
    assert Steps(load(sets=other_sets), RunPaths.from_env(tmp_path / "other")).group != group


def test_run_stage__wraps_failures_but_not_input_errors(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    params = load(sets=SMALL)
    for error, expected, message in (
        (ValueError("boom"), pipeline.StageError, "evaluate failed: ValueError: boom"),
        (RunError("boom"), pipeline.StageError, "evaluate failed: boom"),
        (RunError("key=3: evaluate: boom"), pipeline.StageError, "key=3: evaluate: boom"),
        (InputError("mistake"), InputError, "mistake"),
    ):

        def run(*_: Any, error: Exception = error) -> Artifact:
            raise error

        monkeypatch.setattr("medtune.stages.evaluate.run", run)
        with pytest.raises(expected, match=f"^{message}$"):
            pipeline.run_stage(Step("evaluate", None, "key"), Steps(params, paths))


def test_prune_outputs__removes_files_of_other_stages_and_folds(tmp_path: Path) -> None:
    paths = RunPaths.from_env(tmp_path)
    for fold in (2, 3):
        for stage in ("frozen", "finetune"):
            write_artifact(paths, Step(stage, fold, "key"))
    partial_dir(paths.stage("frozen", 3)).mkdir()
    partial_dir(paths.stage("evaluate")).mkdir()
    pipeline.prune_outputs(load(sets=SMALL), paths)
    remaining = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "artifacts").rglob("*")}
    assert {name for name in remaining if name.count("/") < 3} == {
        *("artifacts/frozen", "artifacts/frozen/fold-2"), *("artifacts/finetune", "artifacts/finetune/fold-2"),
        *("artifacts/controls", "artifacts/controls/README.txt"),
    }  # fmt: skip
    pipeline.prune_outputs(load(sets=["schedule=frozen"]), paths)
    assert [path.name for path in paths.stage("finetune").iterdir()] == ["README.txt"]
    assert "schedule: frozen" in (paths.stage("finetune") / "README.txt").read_text()
    pipeline.prune_outputs(load(sets=["schedule=staged"]), paths)
    assert list(paths.stage("finetune").iterdir()) == []
