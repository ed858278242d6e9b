"""Label maps of trained networks: ensemble of the external volumes, and the cache."""

from dataclasses import replace

import numpy as np
import pytest

from medtune.config.errors import RunError
from medtune.data.manifest import load_prepared
from medtune.evaluation.outputs import EXTERNAL, OutputsRequest
from medtune.tasks.segmentation.inference import mean_run, segment_volume, torch_run, training_features
from medtune.tasks.segmentation.network_outputs import compute_outputs
from medtune.tasks.segmentation.unlike_training import extend_request
from medtune.training.checkpoint import load_trained

PATCH = (16, 16, 16)


@pytest.fixture
def world(make_volume_world):
    return make_volume_world()


@pytest.fixture
def prepared(world):
    return load_prepared(world.paths.prepared)


def request_of(world, prepared, fold: int, **indices: list[int]) -> OutputsRequest:
    request = OutputsRequest.for_artifact(world.trained[fold], prepared)
    return replace(request, indices={split: np.array(rows) for split, rows in indices.items()})


def test_compute_outputs__external_volumes_get_the_mean_of_all_networks(world, prepared, tmp_path):
    requests = [request_of(world, prepared, fold, val=[0], test=[fold + 1], external=[8]) for fold in range(2)]
    outputs = compute_outputs(requests, prepared, world.params, "cpu", tmp_path)
    runs = [torch_run(load_trained(world.trained[fold]), "cpu") for fold in range(2)]
    for fold, by_split in enumerate(outputs):
        expected = segment_volume(prepared, fold + 1, runs[fold], PATCH, 0.5)
        assert (by_split["test"][0].labels == expected.labels).all()
        assert by_split["test"][0].uncertainty == pytest.approx(expected.uncertainty, nan_ok=True)
        mean = segment_volume(prepared, 8, mean_run(runs), PATCH, 0.5)
        assert (by_split[EXTERNAL][0].labels == mean.labels).all()
        assert by_split[EXTERNAL][0].features.shape == (2, 2 * (64 + 4))
        assert by_split["test"][0].features.shape == (1, 2 * (64 + 4))
    files = sorted(path.name for path in tmp_path.rglob("*.npz"))
    assert files == ["0.npz", "0.npz", "1.npz", "2.npz", "8.npz"]


def test_training_features__are_those_of_stage_evaluate(world, prepared, tmp_path):
    request = extend_request(request_of(world, prepared, 0, val=[0]), prepared)
    assert request.indices["train"].tolist() == prepared.indices(0)["train"].tolist()
    (outputs,) = compute_outputs([request], prepared, world.params, "cpu", tmp_path)
    network = load_trained(world.trained[0])
    found = training_features(prepared, 0, network, "cpu", 0.5, ())
    expected = np.stack([outputs["train"][k].features[0] for k in range(3)])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert expected.std(axis=0).max() > 0


def test_compute_outputs__computes_only_missing_and_damaged_files(world, prepared, tmp_path):
    request = request_of(world, prepared, 0, val=[0, 3], test=[5])
    (first,) = compute_outputs([request], prepared, world.params, "cpu", tmp_path)
    before = {split: [volumes[k].labels for k in range(len(volumes))] for split, volumes in first.items()}
    kept, damaged, removed = sorted(tmp_path.rglob("*.npz"))
    time = kept.stat().st_mtime_ns
    damaged.write_bytes(damaged.read_bytes()[:-20])
    removed.unlink()
    task = world.params.task.model_copy(update={"tolerance_mm": 3.0, "largest_component": "none"})
    params = world.params.model_copy(update={"task": task})
    (second,) = compute_outputs([request], prepared, params, "cpu", tmp_path)
    assert second["val"].options.tolerance_mm == 3.0
    assert sorted(tmp_path.rglob("*.npz")) == [kept, damaged, removed]
    assert kept.stat().st_mtime_ns == time
    for split, volumes in before.items():
        assert all((second[split][k].labels == labels).all() for k, labels in enumerate(volumes))


def test_compute_outputs__another_overlap_has_other_label_maps(world, prepared, tmp_path):
    request = request_of(world, prepared, 0, test=[5])
    compute_outputs([request], prepared, world.params, "cpu", tmp_path)
    task = world.params.task.model_copy(update={"overlap": 0.25})
    compute_outputs([request], prepared, world.params.model_copy(update={"task": task}), "cpu", tmp_path)
    assert len(list(tmp_path.rglob("5.npz"))) == 2


def test_compute_outputs__mirrored_views_have_other_label_maps(world, prepared, tmp_path):
    request = request_of(world, prepared, 0, test=[5])
    (plain,) = compute_outputs([request], prepared, world.params, "cpu", tmp_path)
    augment = world.params.task.augment.model_copy(update={"mirror": ["x", "y"]})
    task = world.params.task.model_copy(update={"augment": augment, "mirror_views": ["y", "x"]})
    (found,) = compute_outputs([request], prepared, world.params.model_copy(update={"task": task}), "cpu", tmp_path)
    run = torch_run(load_trained(world.trained[0]), "cpu")
    expected = segment_volume(prepared, 5, run, PATCH, 0.5, views=(0, 1))
    assert (found["test"][0].labels == expected.labels).all()
    assert found["test"][0].uncertainty == expected.uncertainty != plain["test"][0].uncertainty
    assert len(list(tmp_path.rglob("5.npz"))) == 2


def test_compute_outputs__a_file_that_is_changed_while_it_is_used_is_an_error(world, prepared, tmp_path):
    (outputs,) = compute_outputs([request_of(world, prepared, 0, test=[5])], prepared, world.params, "cpu", tmp_path)
    next(tmp_path.rglob("5.npz")).write_bytes(b"")
    with pytest.raises(RunError, match="fold 0: a stored label map was changed"):
        outputs["test"][0]
