"""Feature cache: equality with a single computation, and one backbone pass per image and view."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from medtune.config.load import validate
from medtune.config.project import PROJECT
from medtune.data.manifest import PreparedDataset
from medtune.models.classifier import Classifier
from medtune.runtime.artifact import RESULT_FILE
from medtune.training import feature_cache
from medtune.training.feature_store import FEATURES_FILE, INDICES_FILE

N, SIZE, VIEWS = 14, 4, 3
MODEL = {"backbone": "test_vit", "head": {"kind": "linear"}, "peft": {"method": "none"}}
PARAMS = validate({"data": {"source": "synthetic"}, "model": MODEL})


class CountingBackbone(nn.Module):
    """Backbone that counts its images and kills the process after `killed_at` of them."""

    def __init__(self, killed_at=None):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.5))
        self.n_images, self.killed_at = 0, killed_at

    def forward_features(self, images):
        self.n_images += len(images)
        if self.killed_at is not None and self.n_images >= self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.weight * (images[..., ::2, ::2] - 2 * images[..., 1::2, ::2])


def model_of(backbone):
    return Classifier(backbone, nn.Identity(), "tokens", [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]).eval()


def prepared_set(n=N):
    images = np.random.default_rng(0).integers(0, 256, (n, SIZE, SIZE, 3), np.uint8)
    names = tuple(f"{row}.png" for row in range(n))
    roles = np.full((n, 1), "train")
    return PreparedDataset(
        Path(),
        {},
        ("a", "b"),
        names,
        np.zeros(n, int),
        np.array(names),
        np.zeros(n, int),
        roles,
        images,
        tuple(f"{row:064x}" for row in range(n)),
    )


def compute(requested, cache, backbone=None):
    """Return the feature store and the number of images that the backbone processed."""
    backbone = backbone or CountingBackbone()
    rows = [np.array(sorted(view), int) for view in requested]
    store = feature_cache.compute_features(model_of(backbone), prepared_set(), PARAMS, rows, cache, "cpu")
    return store, backbone.n_images


@pytest.fixture(scope="module")
def all_features(tmp_path_factory):
    """Return all features (VIEWS, N, tokens, channels), computed at once."""
    store, computed = compute([range(N)] * VIEWS, tmp_path_factory.mktemp("complete"))
    assert computed == N * VIEWS
    return np.stack([store.fetch(np.arange(N), np.full(N, view)) for view in range(VIEWS)])


@pytest.fixture(scope="module", autouse=True)
def small_batches(all_features):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_cache, "BATCH", 4)
        yield


def assert_equal_features(store, requested, all_features):
    for view, rows in enumerate(requested):
        rows = np.array(sorted(rows), int)
        assert np.array_equal(store.fetch(rows, np.full(len(rows), view)), all_features[view, rows])


ROWS = st.sets(st.integers(0, N - 1), min_size=1)
DAMAGE = st.none() | st.integers(0, 100)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.lists(ROWS, min_size=1, max_size=VIEWS), DAMAGE), min_size=1, max_size=5))
def test_compute__sequence_of_requests_equals_one_request_without_repeated_work(all_features, requests):
    cached = set()
    with TemporaryDirectory() as folder:
        for requested, damage in requests:
            pairs = {(row, view) for view, rows in enumerate(requested) for row in rows}
            store, computed = compute(requested, Path(folder))
            assert computed == len(pairs - cached)
            cached |= pairs
            assert_equal_features(store, requested, all_features)
            if damage is not None:
                cached -= damage_shard(Path(folder), damage)


def damage_shard(cache, seed):
    """Truncate a shard by one byte and return its (row, view) pairs."""
    paths = sorted(path for path in (cache / "features").glob("*/*") if path.name.isdigit())
    shard = paths[seed % len(paths)]
    with (shard / FEATURES_FILE).open("r+b") as stream:
        stream.truncate(stream.seek(0, os.SEEK_END) - 1)
    view = json.loads((shard / RESULT_FILE).read_text())["view"]
    return {(row, view) for row in np.load(shard / INDICES_FILE).tolist()}


def test_compute__reports_a_complete_cache(tmp_path, capsys):
    compute([{1, 2}, {1}], tmp_path)
    assert "read from the cache" not in capsys.readouterr().out
    compute([{1, 2}, {1, 2}], tmp_path)
    assert "features, view 2 of 2: 1 images" in capsys.readouterr().out
    compute([{2}, {1, 2}], tmp_path)
    assert capsys.readouterr().out.startswith("features: read from the cache (")


def test_compute__row_that_was_not_requested_is_an_error(tmp_path):
    store, _ = compute([{1, 2}, {1}], tmp_path)
    with pytest.raises(LookupError, match="image 2 is not stored in view 1"):
        store.fetch(np.array([1, 2]), np.array([1, 1]))


def test_compute__rejects_features_that_exceed_half_precision(tmp_path):
    backbone = CountingBackbone()
    backbone.weight.data.fill_(1e6)
    with pytest.raises(RuntimeError, match=r"features exceed the range of fp16, first in the batch of 3\.png"):
        compute([{3, 4}], tmp_path, backbone)


def test_required_indices__training_images_in_all_views_and_validation_images_in_view_0():
    chain = {"train": np.array([5, 1, 3]), "val": np.array([0, 4]), "test": np.array([2])}
    rows = [view.tolist() for view in feature_cache.required_indices(chain, 3)]
    assert [sorted(view) for view in rows] == [[0, 1, 3, 4, 5], [1, 3, 5], [1, 3, 5]]
    assert feature_cache.store_bytes(feature_cache.required_indices(chain, 3), tokens=7, channels=2) == 11 * 7 * 2 * 2


KILLED_AT = (4, 7)
# A process imports the modules, then forks a child per number of images after which the child is killed.
KILLED = """
import importlib.util, os, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("test_features", sys.argv[1])
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
tests.feature_cache.BATCH = 2
for killed_at in tests.KILLED_AT:
    folder = Path(sys.argv[2]) / str(killed_at)
    child = os.fork()
    if not child:
        os.dup2(2, 1)  # stdout is for the exit codes
        tests.compute([range(10), range(9)], folder)
        tests.compute([range(14), range(12)], folder, tests.CountingBackbone(killed_at=killed_at))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Return the cache folder of every killed process by its number of processed images."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-c", KILLED, __file__, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    process = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert process.stdout.split() == [str(-signal.SIGKILL)] * len(KILLED_AT), process.stderr
    return {number: folder / str(number) for number in KILLED_AT}


@pytest.mark.slow
@pytest.mark.xdist_group("killed-features")
@pytest.mark.parametrize(("killed_at", "recomputed"), zip(KILLED_AT, (4 + 3, 3), strict=True))
def test_compute__recomputes_only_the_interrupted_shard(killed, all_features, killed_at, recomputed):
    """Kill during the computation of four rows of view 0 or three rows of view 1."""
    folder = killed[killed_at]
    assert list((folder / "features").glob("*/.*.partial"))
    requested = [range(14), range(12)]
    store, computed = compute(requested, folder)
    assert computed == recomputed
    assert_equal_features(store, requested, all_features)
    assert not list((folder / "features").glob("*/.*.partial"))
