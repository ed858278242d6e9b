"""Control runs in the pipeline: order, cache and folders of the steps, and a complete small run."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import timm
from safetensors.torch import save_file

from medtune.cli.main import call
from medtune.cli.steps import report
from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.flows import pipeline
from medtune.flows.train import describe
from medtune.runtime.artifact import Artifact, commit, partial_dir, write_text
from medtune.runtime.cache_key import data_key
from medtune.runtime.paths import RunPaths
from medtune.stages import evaluate
from medtune.stages.steps import Step, Steps
from tests.volume_world import write_prepared_volumes

SETS = ["data.size=16", "data.patients=9", "data.patch=null", "schedule=full", "finetune.epochs=1",
        "finetune.min_steps=2", "model.head.width=4", "model.peft.method=bitfit", "finetune.lr={bitfit: 0.001}",
        "tracking.mode=disabled"]  # fmt: skip
BOTH = "task.controls=[decoder_only, scratch]"
MODEL = [f"finetune fold {fold}" for fold in range(3)]
DECODER, SCRATCH = (
    [f"control {control} finetune fold {fold}" for fold in range(3)] for control in ("decoder_only", "scratch")
)
LAST = ["evaluate", "export"]


def params_of(*sets: str) -> Params:
    return load(PROJECT / "recipes" / "segmentation.yaml", [*SETS, *sets])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("volumes") / "prepared"
    write_prepared_volumes(folder, params_of(), data_key(params_of()))
    return folder


@pytest.fixture
def paths(tmp_path: Path, prepared: Path) -> RunPaths:
    return RunPaths(tmp_path, tmp_path / "cache", data=prepared)


def run(paths: RunPaths, params: Params, faked: Sequence[str]) -> list[pipeline.StepResult]:
    """Run all steps that are not cached and remove old outputs. The stages in `faked` only write an artifact."""
    steps = Steps(params, paths)

    def execute(step: Step) -> Artifact:
        if step.stage not in faked:
            return pipeline.run_stage(step, steps)
        folder = steps.resolver(step).paths.stage(step.stage, step.fold)
        write_text(partial_dir(folder) / "output.txt", step.name)
        return commit(folder, step.key, {"fold": step.fold})

    results = pipeline.run(steps, lambda step: step.artifact or execute(step))
    assert pipeline.is_complete(Steps(params, paths))
    pipeline.prune_outputs(params, paths)
    return results


def names(paths: RunPaths, *sets: str) -> list[str]:
    """Return the names of the steps that ran, without running a stage."""
    results = run(paths, params_of(*sets), ("finetune", *LAST))
    return [result.step.name for result in results if not result.cached]


def test_run__trains_the_controls_after_the_model_and_only_once(paths: RunPaths) -> None:
    assert names(paths, BOTH) == [*MODEL, *DECODER, *SCRATCH, *LAST]
    assert names(paths, BOTH) == []
    folder = paths.out / "artifacts" / "controls"
    assert {path.name for path in folder.iterdir()} == {"decoder_only", "scratch"}
    (folder / "scratch" / "finetune" / "fold-1" / "output.txt").write_text("damaged")
    waiting = {status.name: status.reason for status in report(params_of(BOTH), paths) if not status.done}
    assert waiting == {
        "control scratch finetune fold 1": "would run: the files of the result are damaged",
        "evaluate": "would run after control scratch finetune fold 1",
        "export": "would run after control scratch finetune fold 1",
    }
    assert names(paths, BOTH) == ["control scratch finetune fold 1"]
    assert (folder / "scratch" / "finetune" / "fold-2" / "output.txt").is_file()


def test_run__a_change_of_the_list_trains_no_other_network(paths: RunPaths) -> None:
    names(paths, BOTH)
    assert names(paths, "task.controls=[scratch]") == LAST
    controls = paths.out / "artifacts" / "controls"
    assert [path.name for path in controls.iterdir()] == ["scratch"]
    assert names(paths, "task.controls=[]") == LAST
    assert [path.name for path in controls.iterdir()] == ["README.txt"]
    assert names(paths, "task.controls=[decoder_only]") == [*DECODER, *LAST]


def test_run__a_change_of_the_method_does_not_train_the_decoder_alone_again(paths: RunPaths) -> None:
    names(paths, BOTH)
    assert names(paths, BOTH, "model.peft.method=norm", "finetune.lr={norm: 0.001}") == [*MODEL, *LAST]


def test_evaluate__names_the_control_that_is_missing(paths: RunPaths) -> None:
    steps = Steps(params_of("task.controls=[scratch]"), paths)
    for fold in range(3):
        step = steps.resolve("finetune", fold)
        write_text(partial_dir(paths.stage("finetune", fold)) / "output.txt", step.name)
        commit(paths.stage("finetune", fold), step.key, {"fold": fold})
    message = r"artifacts/controls/scratch/finetune/fold-0: no finished.*or remove scratch from task\.controls"
    with pytest.raises(InputError, match=message):
        evaluate.run(steps.params, paths)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finetune", "--control", "decoder"], "--control=decoder: the run does not train this control. Its controls: "
         "decoder_only"),
        (["frozen", "--control", "decoder_only"], "--control=decoder_only: it has no stage frozen. Run `medtune stage "
         "finetune`"),
    ],
)  # fmt: skip
def test_stage__refuses_a_control_or_stage_that_does_not_exist(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "params.json").write_text(params_of().model_dump_json())
    assert call(["stage", *arguments, "--params", str(tmp_path / "params.json")]) == 2
    assert message in capsys.readouterr().err


def test_describe__names_the_controls() -> None:
    assert "0 to 2, the controls decoder_only and scratch, then" in describe(params_of(BOTH))
    assert "control" not in describe(params_of("task.controls=[]"))


def test_train__reports_the_controls_and_does_nothing_the_second_time(
    paths: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    backbone = timm.create_model("test_vit", img_size=32, depth=1, num_classes=0)
    save_file(backbone.state_dict(), paths.out / "weights.safetensors")
    normalization = "model.normalization={mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}"
    weights = f"model.weights={paths.out / 'weights.safetensors'}"
    params = params_of(BOTH, "model.backbone_args={depth: 1}", normalization, weights)
    (paths.out / "params.json").write_text(params.model_dump_json())
    results = run(paths, params, ("export",))
    assert [result.step.name for result in results] == [*MODEL, *DECODER, *SCRATCH, *LAST]
    output = capsys.readouterr().out
    steps = {result.artifact.path: result.artifact.result() for result in results if result.step.fold is not None}
    assert {result["params"]["model"]["backbone"] for result in steps.values()} == {"none", "test_vit"}
    assert {result.get("control") for result in steps.values()} == {None, "decoder_only", "scratch"}

    folder = paths.stage("evaluate")
    metrics = json.loads((folder / "metrics.json").read_text())
    decoder, scratch = metrics["controls"]
    for entry in (decoder, scratch):
        assert entry["trained"] is True
        training: dict[str, Any] = entry["training"]
        assert training["control"]["steps"] == training["model"]["steps"] == 9
        assert training["control"]["parameters"] > 0
        dice, difference = entry["test"]["dice"], entry["difference"]["dice"]
        assert dice["lo"] <= dice["value"] <= dice["hi"]
        assert difference["value"] == pytest.approx(metrics["test"]["dice"]["value"] - dice["value"])
        assert difference["lo"] <= difference["value"] <= difference["hi"]
        assert f"evaluate: {entry['sentence']}" in output
    assert decoder["training"]["control"]["parameters"] < scratch["training"]["control"]["parameters"]
    page = (folder / "report.html").read_text()
    for entry in (decoder, scratch):
        assert entry["sentence"] in page
        assert f"{entry['training']['control']['parameters']:,} trained parameters" in page
    assert page.count("<td>control: decoder alone</td>") == 4  # mean Dice above, and each headline metric below

    code = f"""
import json, sys
from pathlib import Path
from medtune.config.load import validate
from medtune.flows.train import train
from medtune.runtime.paths import RunPaths
params = validate(json.loads(Path({str(paths.out / "params.json")!r}).read_text()))
paths = RunPaths(Path({str(paths.out)!r}), Path({str(paths.cache)!r}), data=Path({str(paths.data)!r}))
assert all(result.cached for result in train(params, paths, prefect=False))
print("torch" in sys.modules)"""
    process = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == "False"
    for entry in (decoder, scratch):
        assert f"note: {entry['sentence']}" in process.stdout
