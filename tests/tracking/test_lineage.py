"""Tests of the lineage of data set, models and bundle, offline and on a server, without patient ids."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.runtime.artifact import Artifact, commit, partial_dir
from medtune.tracking import lineage
from medtune.tracking.read import RecordedRun
from medtune.tracking.run import Run, run_id, start_run
from tests.tracking.recorded_runs import read_runs

if TYPE_CHECKING:
    from tests.tracking.conftest import Server

FROZEN, FINETUNE, EXPORT = ("a" * 64, "b" * 64, "c" * 64)
PATIENTS = ("Patient-Mueller", "Patient-Ito")


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedDataset:
    info = {"name": "Breast (200X)", "license": "CC0", "classes": ["benign", "malignant"], "protocol": "image",
            "n_images": 4, "n_patients": 2, "patients_known": True, "counts": {"all": {"benign": 2, "malignant": 2}},
            "image_size": 8, "resize": "squash", "leaked_patients": list(PATIENTS), "notes": [],
            "folder": "/mnt/hospital"}  # fmt: skip
    return PreparedDataset(
        folder=tmp_path,
        info=info,
        classes=("benign", "malignant"),
        paths=tuple(f"{name}/{n}.png" for name in PATIENTS for n in range(2)),
        labels=np.array([0, 0, 1, 1]),
        patient_ids=np.array([name for name in PATIENTS for _ in range(2)]),
        folds=np.array([0, 1, 0, 1]),
        splits=np.array([["test", "train"], ["train", "test"], ["test", "train"], ["train", "test"]]),
        images=np.zeros((4, 8, 8, 3), np.uint8),
        sha256=("1", "2", "3", "4"),
    )


def write_artifact(folder: Path, key: str, content: str, **result: Any) -> Artifact:
    work = partial_dir(folder)
    work.mkdir(parents=True)
    (work / "model.bin").write_text(content)
    params = {"model": {"backbone": "test_vit", "head": {"kind": "cdtm"}, "peft": {"method": "none"}},
              "data": {"root": "/mnt/hospital"}}  # fmt: skip
    return commit(folder, key, {"params": params, "data_digest": "d", **result})


@pytest.fixture
def frozen(tmp_path: Path) -> Artifact:
    best = {"epoch": 3, "validation": {"auroc": 0.9}}
    return write_artifact(
        tmp_path / "frozen", FROZEN, "secret weights", stage="frozen", fold=1, kept="frozen", best=best
    )


@pytest.fixture
def finetuned(tmp_path: Path) -> Artifact:
    return write_artifact(tmp_path / "finetune", FINETUNE, "other weights", stage="finetune", fold=1, kept="finetune")


@pytest.fixture
def bundle(tmp_path: Path) -> Artifact:
    return write_artifact(tmp_path / "export", EXPORT, "onnx", stage="export", fold=1, parity={"fp32": {"max": 1e-7}})


def log_stages(
    params: Params, prepared: PreparedDataset, frozen: Artifact, finetuned: Artifact, bundle: Artifact
) -> None:
    """Log the inputs and outputs of three stages."""
    with start_run("frozen", FROZEN, "group", params, "frozen fold 1", 1) as run:
        lineage.log_inputs(run, prepared)
        lineage.log_model(run, frozen)
    with start_run("finetune", FINETUNE, "group", params, "finetune fold 1", 1) as run:
        lineage.log_inputs(run, prepared, [frozen])
        lineage.log_model(run, finetuned)
    with start_run("export", EXPORT, "group", params, "export fold 1", 1) as run:
        lineage.log_inputs(run, prepared, [finetuned])
        lineage.log_bundle(run, bundle)


def names(run: RecordedRun) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    inputs = [(version.type, version.name) for version in run.used]
    return inputs, [(version.type, version.name) for version in run.made]


DATA = ("dataset", "data-breast-200x")
STAGE_1, STAGE_2 = ("model", "frozen-fold-1"), ("model", "finetune-fold-1")


def test_lineage__offline_runs_record_inputs_and_outputs(
    cache: Path, params: Params, prepared: PreparedDataset, frozen: Artifact, finetuned: Artifact, bundle: Artifact
) -> None:
    log_stages(params, prepared, frozen, finetuned, bundle)
    first, second, third = read_runs(cache)
    assert names(first) == ([DATA], [STAGE_1])
    assert names(second) == ([DATA, STAGE_1], [STAGE_2])
    assert names(third) == ([DATA, STAGE_2], [("bundle", "medtune-bundle")])
    # The output of a stage and the input of the next stage are one version with the same digest.
    assert first.made[0].digest == second.used[1].digest
    assert first.used[0].digest == second.used[0].digest == third.used[0].digest
    assert len({version.digest for run in (first, second, third) for version in run.used + run.made}) == 4
    assert first.used[0].metadata["n_images"] == 4
    assert first.used[0].metadata["n_leaked_patients"] == 2
    assert first.used[0].metadata["digest"] == prepared.digest
    assert first.made[0].metadata["sha256"] == frozen.sha256
    assert third.made[0].metadata["files"].keys() == {"model.bin"}
    (folder,) = {
        path.parent for path in cache.rglob("*.wandb") if FROZEN[:32] in path.parent.name and "offline" in str(path)
    }
    assert not list(folder.rglob("model.bin"))


def test_version__depends_on_content(prepared: PreparedDataset, frozen: Artifact, tmp_path: Path) -> None:
    same = write_artifact(tmp_path / "again", FROZEN, "secret weights", stage="frozen", fold=1)
    other = write_artifact(tmp_path / "other", FROZEN, "other weights", stage="frozen", fold=1)
    assert (
        lineage.model_version(same).digest
        == lineage.model_version(frozen).digest
        != lineage.model_version(other).digest
    )
    splits = prepared.splits.copy()
    splits[0, 0] = "unused"
    other_split = PreparedDataset(**{**vars(prepared), "splits": splits})
    assert lineage.dataset_version(prepared).digest != lineage.dataset_version(other_split).digest


def test_lineage__repeated_logging_creates_one_version(
    cache: Path, params: Params, online: "Server", prepared: PreparedDataset, frozen: Artifact, finetuned: Artifact,
    bundle: Artifact,
) -> None:  # fmt: skip
    for _ in range(2):
        log_stages(params, prepared, frozen, finetuned, bundle)
    assert sorted(name for name, _ in online.artifacts) == [
        "data-breast-200x", "finetune-fold-1", "frozen-fold-1", "medtune-bundle"
    ]  # fmt: skip
    assert {artifact["state"] for artifact in online.artifacts.values()} == {"COMMITTED"}
    runs = online.runs
    assert set(runs[run_id(FINETUNE)]["used"]) == {"data-breast-200x", "frozen-fold-1"}
    assert set(runs[run_id(EXPORT)]["used"]) == {"data-breast-200x", "finetune-fold-1"}
    assert set(runs[run_id(FROZEN)]["made"]) == {"frozen-fold-1"}  # the dataset is an input of this run
    content = online.everything
    assert b"medtune:model/" in content
    for secret in (*(name.encode() for name in PATIENTS), b"hospital", str(cache).encode(), b"secret weights"):
        assert secret not in content, secret


def test_log_model__damaged_artifact_does_not_raise(
    cache: Path, params: Params, prepared: PreparedDataset, frozen: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    (frozen.folder / "result.json").unlink()
    with start_run("finetune", FINETUNE, "group", params, "finetune fold 1", 1) as run:
        lineage.log_inputs(run, prepared, [frozen])
        run.log({"train/loss": 1.0}, 20)
    (result,) = read_runs(cache)
    assert names(result) == ([DATA], [])
    assert result.curve("train/loss") == {20: 1.0}
    assert capsys.readouterr().out.count("W&B") == 1


def test_lineage__disabled_run_reads_nothing(prepared: PreparedDataset, tmp_path: Path) -> None:
    lineage.log_inputs(Run(), prepared, [Artifact(str(tmp_path / "missing"), "key", "sha")])
