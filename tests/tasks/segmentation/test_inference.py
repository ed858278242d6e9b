"""Label maps of trained networks: windows, ensemble of the external volumes, and the cache."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from medtune.config.errors import RunError
from medtune.data.manifest import load_prepared
from medtune.evaluation.outputs import EXTERNAL, OutputsRequest
from medtune.serving.volumes.pipeline import Preparation, Segmentation, segment
from medtune.tasks.segmentation.inference import compute_outputs, mean_run, segment_volume, torch_run
from medtune.tasks.segmentation.outputs import load_segmentation, segmentation_path, store_segmentation
from medtune.tasks.segmentation.slab_recorder import RecordedSegmentation
from medtune.tasks.segmentation.temperature_grid import NODES
from medtune.tasks.segmentation.voxel_samples import VoxelSample
from medtune.tasks.segmentation.windowed import count_windows
from medtune.training.checkpoint import load_trained

PATCH = (16, 16, 16)


class Threshold(nn.Module):
    """Separates bright voxels (1) from dark ones (3), with a dropout that is only active in training."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.9)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        scores = self.dropout(windows[:, :1])
        return torch.cat([torch.zeros_like(scores), scores, -torch.ones_like(scores), -scores], dim=1)


@pytest.fixture
def world(make_volume_world):
    return make_volume_world()


@pytest.fixture
def prepared(world):
    return load_prepared(world.paths.prepared)


def request_of(world, prepared, fold: int, **indices: list[int]) -> OutputsRequest:
    request = OutputsRequest.for_artifact(world.trained[fold], prepared)
    return replace(request, indices={split: np.array(rows) for split, rows in indices.items()})


def test_torch_run__returns_the_softmax_in_eval_mode():
    network = Threshold().train()
    windows = np.random.default_rng(0).normal(size=(2, 1, 4, 4, 4)).astype(np.float32)
    probabilities = torch_run(network, "cpu")(windows)
    expected = torch.cat(
        [torch.zeros(2, 1, 4, 4, 4), torch.from_numpy(windows), -torch.ones(2, 1, 4, 4, 4), -torch.from_numpy(windows)],
        dim=1,
    ).softmax(1)
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities, expected.numpy(), atol=1e-6)


def test_mean_run__averages_probabilities():
    runs = [lambda windows: np.full((1, 2), 0.2), lambda windows: np.full((1, 2), 0.6)]
    assert mean_run(runs)(np.zeros(1)) == pytest.approx(np.full((1, 2), 0.4))
    assert mean_run(runs[:1]) is runs[0]


def test_segment_volume__has_the_grid_of_the_file_and_calls_every_window(prepared):
    calls = []
    run = torch_run(Threshold(), "cpu")
    found = segment_volume(prepared, 1, run, PATCH, 0.5, on_progress=lambda done, total: calls.append((done, total)))
    entry = prepared.volumes.entries[1]
    assert found.labels.shape == tuple(entry.original_shape)
    assert set(np.unique(found.labels).tolist()) == {1, 3}
    total = count_windows(entry.shape, PATCH, 0.5)
    assert calls == [(done, total) for done in range(1, total + 1)]
    expected = segment(
        prepared.volumes.image(1), entry.original_shape, entry.spacing,
        Preparation.from_document(prepared.info["volumes"]), run, PATCH, 0.5, 3,
    )  # fmt: skip
    assert (found.labels == expected.labels).all()


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
    files = sorted(path.name for path in tmp_path.rglob("*.npz"))
    assert files == ["0.npz", "0.npz", "1.npz", "2.npz", "8.npz"]


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


def test_load_segmentation__refuses_other_shapes_labels_and_damage(tmp_path):
    path = segmentation_path(tmp_path, "key", 7)
    labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 3
    doubt = np.linspace(0, 1, 2 * NODES).reshape(NODES, 2)
    voxels = VoxelSample(labels.ravel(), np.random.default_rng(0).random((24, 3)).astype(np.float32))
    store_segmentation(path, RecordedSegmentation(labels, (0.25, float("nan")), doubt, voxels))
    found = load_segmentation(path, (2, 3, 4), 2)
    assert found is not None
    assert (found.uncertainties == doubt).all()
    assert (found.voxels.truth == voxels.truth).all()
    assert (found.voxels.probabilities == voxels.probabilities).all()
    store_segmentation(path.with_name("plain.npz"), Segmentation(labels, (0.5, 0.5)))
    plain = load_segmentation(path.with_name("plain.npz"), (2, 3, 4), 2)
    assert type(plain) is Segmentation
    assert (plain.labels == labels).all()
    assert (found.labels == labels).all()
    assert found.uncertainty == pytest.approx((0.25, float("nan")), nan_ok=True)
    assert load_segmentation(path, (2, 4, 3), 2) is None
    assert load_segmentation(path, (2, 3, 4), 1) is None
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    assert load_segmentation(path, (2, 3, 4), 2) is None
    assert load_segmentation(tmp_path / "absent", (2, 3, 4), 2) is None
