"""Label maps that torch networks predict from windows."""

import numpy as np
import pytest
import torch
from torch import nn

from medtune.data.manifest import load_prepared
from medtune.serving.volumes.pipeline import Preparation, segment
from medtune.tasks.segmentation.inference import mean_run, segment_volume, torch_run
from medtune.tasks.segmentation.windowed import count_windows

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
def prepared(make_volume_world):
    return load_prepared(make_volume_world().paths.prepared)


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
