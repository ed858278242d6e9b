"""Evaluation of label maps that differ from the truth, in three folds."""

import pytest

from medtune.config.load import validate
from medtune.data.manifest import load_prepared
from medtune.evaluation.outputs import OutputsRequest
from medtune.runtime.artifact import commit, partial_dir
from medtune.runtime.paths import RunPaths
from medtune.tasks.segmentation import evaluation
from tests.tasks.segmentation.degraded_volumes import outputs_of
from tests.volume_world import write_prepared_volumes


@pytest.fixture(scope="session")
def params():
    return validate(
        {
            "task": {"kind": "segmentation"},
            "data": {"source": "phantom", "patients": 12, "size": 16, "split": {"folds": 3, "test_fold": "all"}},
            "model": {"backbone": "none", "weights": "none", "head": {"kind": "decoder"}, "peft": {"method": "none"}},
            "schedule": "frozen",
            "frozen": {"monitor": "dice"},
            "finetune": {"monitor": "dice"},
            "gate": {"metric": "dice"},
        }
    )


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, params):
    folder = tmp_path_factory.mktemp("volumes") / "prepared"
    write_prepared_volumes(folder, params)
    return load_prepared(folder)


@pytest.fixture(scope="session")
def requests(tmp_path_factory, params, prepared):
    paths = RunPaths(tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("cache"))
    found = []
    for fold in range(3):
        folder = paths.stage("frozen", fold)
        partial_dir(folder).mkdir(parents=True)
        artifact = commit(folder, f"key{fold}", {"stage": "frozen", "fold": fold, "kept": "frozen"})
        found.append(OutputsRequest.for_artifact(artifact, prepared))
    return found


@pytest.fixture(scope="session")
def outputs(prepared, requests, params):
    return outputs_of(prepared, requests, params.task)


@pytest.fixture(scope="session")
def folds(prepared, requests, outputs, params):
    return evaluation.evaluate_folds(requests, outputs, prepared, params.evaluate)
