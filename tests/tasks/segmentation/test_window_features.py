"""Stored windows: fixed positions, features of the same windows, and predictions as without the store."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from medtune.config.errors import RunError
from medtune.runtime.source_hash import source_fingerprint
from medtune.tasks.segmentation import VolumeAugmentParams, window_features
from medtune.tasks.segmentation.patch_positions import PatchPositions
from medtune.tasks.segmentation.stage_inputs import frozen_inputs
from medtune.tasks.segmentation.training import build, layout
from medtune.tasks.segmentation.window_features import Windows, level_shapes, required_windows, store_levels
from medtune.tasks.segmentation.windowed import WindowedNetwork, window_corners
from tests.tasks.segmentation.prepared_volumes import segmentation_params, write

CPU, VIEWS, OFF = torch.device("cpu"), 3, VolumeAugmentParams()
PARAMS = segmentation_params(
    "test_vit",
    schedule="frozen",
    data={"size": 20},
    task={"foreground_share": 0.5, "overlap": 0.25, "augment": {"mirror": ["x", "z"]}},
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write(tmp_path_factory.mktemp("windows"), PARAMS)


@pytest.fixture(scope="module")
def model(prepared):
    return build(PARAMS, layout(prepared)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def inputs(prepared, model, tmp_path_factory):
    return frozen_inputs(model, prepared, PARAMS, tmp_path_factory.mktemp("cache"), 0, CPU)


def windows_of(prepared, **changes):
    return Windows(prepared, (16, 16, 16), PARAMS.task.model_copy(update=changes), CPU)


class Recorded(PatchPositions):
    """Positions that record the turns of the labels."""

    turns = ()

    def on_label(self, row, turn, number):
        self.turns = (*self.turns, turn)
        return super().on_label(row, turn, number)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_random__the_share_of_windows_on_a_label_is_exact(prepared, share):
    for row in range(len(prepared.paths)):
        windows = windows_of(prepared, foreground_share=share)
        windows.positions = Recorded(windows.volumes, windows.patch, 3)
        for view in range(20):
            windows.random(row, view)
        turns = windows.positions.turns
        assert len(turns) == pytest.approx(20 * share, abs=0.01)
        assert np.array_equal(np.diff(turns), np.ones(max(0, len(turns) - 1)))  # the labels take turns


def test_random__windows_differ_and_are_the_same_on_every_call(prepared):
    windows = windows_of(prepared)
    chosen = [windows.random(row, view) for row in range(9) for view in range(8)]
    assert chosen == [windows_of(prepared).random(row, view) for row in range(9) for view in range(8)]
    assert len({window.start for window in chosen}) > 20
    assert {window.mirrored for window in chosen} == {(), (0,), (2,), (0, 2)}
    assert {window.mirrored for window in map(windows_of(prepared, augment=OFF).random, range(9), range(9))} == {()}


def test_window__image_and_mask_are_mirrored_together(prepared):
    windows = windows_of(prepared)
    for row in range(6):
        plain = replace(windows.random(row, 0), mirrored=())
        for mirrored in ((0,), (1, 2)):
            window = replace(plain, mirrored=mirrored)
            assert torch.equal(windows.image(window).flip([axis + 1 for axis in mirrored]), windows.image(plain))
            assert torch.equal(windows.mask(window).flip(mirrored), windows.mask(plain))


def test_grid__numbers_are_those_of_the_sliding_window(prepared):
    windows = windows_of(prepared)
    for row, entry in enumerate(prepared.volumes.entries):
        corners = window_corners(tuple(entry.shape), (16, 16, 16), 0.25)
        found = [windows.on_grid(number) for number in windows.grid([row])]
        assert [window.row for window in found] == [row] * len(corners)
        offset = [max(0, 16 - length) // 2 for length in entry.shape]
        assert [tuple(np.add(window.start, offset)) for window in found] == corners
    assert len(windows.grid([])) == 0
    assert len(windows.grid(range(9))) == windows.firsts[-1]


def test_store__training_reads_the_features_of_its_windows(prepared, model, inputs):
    source, network = inputs.source, inputs.wrap(model)
    batch, transform = source.train(prepared.indices(0)["train"], torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(network(batch), model(batch.volumes), atol=2e-2, rtol=0)
    masks = transform(None)
    assert masks.shape == (len(batch.volumes), 16, 16, 16)
    windows = windows_of(prepared)
    views = torch.randint(VIEWS, (len(masks),), generator=torch.Generator().manual_seed(3)).tolist()
    for row, view, image, mask in zip(prepared.indices(0)["train"], views, batch.volumes, masks, strict=True):
        assert torch.equal(image, windows.image(windows.random(row, view)))
        assert torch.equal(mask, windows.mask(windows.random(row, view)))


def test_store__validation_equals_the_complete_network(prepared, model, inputs):
    stored, complete = inputs.wrap(model), WindowedNetwork(model, (16, 16, 16), 0.25)
    for row in prepared.indices(0)["val"]:
        volume = torch.from_numpy(np.array(prepared.volumes.image(row)))[None].float()
        with torch.no_grad():
            found = list(stored(inputs.source.score(np.array([row]))))
            expected = list(complete(volume))
        assert len(found) > 1
        for (first, part), (start, other) in zip(found, expected, strict=True):
            assert first == start
            torch.testing.assert_close(part.softmax(0), other.softmax(0), atol=5e-3, rtol=0)


def test_store__other_volumes_have_no_features(prepared, model, inputs):
    test = prepared.indices(0)["test"]
    with torch.no_grad(), pytest.raises(LookupError):
        list(inputs.wrap(model)(inputs.source.score(test[:1])))
    with torch.enable_grad():  # the check for parameters without a gradient maps a training volume
        output = inputs.wrap(model.requires_grad_(True))(inputs.source.score(test[:1]))
        gradients = torch.autograd.grad(output.sum(), list(model.head.parameters()), allow_unused=True)
    model.requires_grad_(False)
    assert all(gradient is not None for gradient in gradients)


def test_store__without_validation_volumes(prepared, model, tmp_path, capsys):
    windows = windows_of(prepared)
    required = required_windows(windows, {"train": np.array([2]), "val": np.array([], int)}, 1)
    train, grid = store_levels(model, windows, prepared, PARAMS, required, tmp_path)
    size = sum(np.prod(shape) for shape in level_shapes(model, 1, CPU))
    assert train.fetch(np.array([2])).shape == (1, size)
    assert grid.views == 1
    assert "validation" not in capsys.readouterr().out


def test_store__features_beyond_half_precision_are_an_error(prepared, model, tmp_path):
    norm = model.backbone.norm.weight
    before = norm.detach().clone()
    norm.mul_(1e6)
    windows = windows_of(prepared)
    required = required_windows(windows, {"train": np.array([2]), "val": np.array([2])}, 1)
    with pytest.raises(RunError, match="exceed the range of fp16, first in the batch of P002"):
        store_levels(model, windows, prepared, PARAMS, required, tmp_path)
    norm.copy_(before)


def test_store__key_covers_the_code_of_the_features(prepared, model, tmp_path, monkeypatch):
    modules = []
    monkeypatch.setattr(window_features, "source_fingerprint", lambda *names: modules.extend(names) or {})
    frozen_inputs(model, prepared, PARAMS, tmp_path, 0, CPU)
    source = source_fingerprint(*modules)
    assert {"medtune/models/slice_network.py", "medtune/models/slice_levels.py"} <= source.keys()
