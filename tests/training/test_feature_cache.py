"""Feature cache: equality with a single computation, and one backbone run per image and view."""

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


class Counting(nn.Module):
    """Backbone that halves images and counts them; after `dies_at` images it kills the process."""

    def __init__(self, dies_at=None):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.5))
        self.seen, self.dies_at = 0, dies_at

    def forward_features(self, images):
        self.seen += len(images)
        if self.dies_at is not None and self.seen >= self.dies_at:
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


def ask(wanted, cache, backbone=None):
    """Return the store and the number of images that passed the backbone."""
    backbone = backbone or Counting()
    rows = [np.array(sorted(each), int) for each in wanted]
    return feature_cache.compute_features(model_of(backbone), prepared_set(), PARAMS, rows, cache, "cpu"), backbone.seen


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Compute all features (VIEWS, N, tokens, channels) at once."""
    store, seen = ask([range(N)] * VIEWS, tmp_path_factory.mktemp("whole"))
    assert seen == N * VIEWS
    return np.stack([store.fetch(np.arange(N), np.full(N, view)) for view in range(VIEWS)])


@pytest.fixture(scope="module", autouse=True)
def small_batches(whole):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_cache, "BATCH", 4)
        yield


def assert_holds(store, wanted, whole):
    for view, rows in enumerate(wanted):
        rows = np.array(sorted(rows), int)
        assert np.array_equal(store.fetch(rows, np.full(len(rows), view)), whole[view, rows])


SOME = st.sets(st.integers(0, N - 1), min_size=1)
DAMAGE = st.none() | st.integers(0, 100)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.lists(SOME, min_size=1, max_size=VIEWS), DAMAGE), min_size=1, max_size=5))
def test_compute__any_sequence_of_requests_equals_one_request_without_repeated_work(whole, requests):
    there = set()
    with TemporaryDirectory() as folder:
        for wanted, damage in requests:
            pairs = {(row, view) for view, rows in enumerate(wanted) for row in rows}
            store, seen = ask(wanted, Path(folder))
            assert seen == len(pairs - there)
            there |= pairs
            assert_holds(store, wanted, whole)
            if damage is not None:
                there -= damaged(Path(folder), damage)


def damaged(cache, seed):
    """Truncate a shard by one byte and return its (row, view) pairs."""
    places = sorted(path for path in (cache / "features").glob("*/*") if path.name.isdigit())
    place = places[seed % len(places)]
    with (place / FEATURES_FILE).open("r+b") as stream:
        stream.truncate(stream.seek(0, os.SEEK_END) - 1)
    view = json.loads((place / RESULT_FILE).read_text())["view"]
    return {(row, view) for row in np.load(place / INDICES_FILE).tolist()}


def test_compute__reports_a_complete_cache(tmp_path, capsys):
    ask([{1, 2}, {1}], tmp_path)
    assert "read from the cache" not in capsys.readouterr().out
    ask([{1, 2}, {1, 2}], tmp_path)
    assert "features, view 2 of 2: 1 images" in capsys.readouterr().out
    ask([{2}, {1, 2}], tmp_path)
    assert capsys.readouterr().out.startswith("features: read from the cache (")


def test_compute__a_row_that_was_not_requested_is_an_error(tmp_path):
    store, _ = ask([{1, 2}, {1}], tmp_path)
    with pytest.raises(LookupError, match="image 2 is not stored in view 1"):
        store.fetch(np.array([1, 2]), np.array([1, 1]))


def test_compute__features_beyond_half_precision_are_rejected(tmp_path):
    backbone = Counting()
    backbone.weight.data.fill_(1e6)
    with pytest.raises(RuntimeError, match=r"features exceed half precision, from 3\.png on"):
        ask([{3, 4}], tmp_path, backbone)


def test_required_indices__training_images_in_all_views_and_validation_images_in_view_0():
    chain = {"train": np.array([5, 1, 3]), "val": np.array([0, 4]), "test": np.array([2])}
    rows = [each.tolist() for each in feature_cache.required_indices(chain, 3)]
    assert [sorted(each) for each in rows] == [[0, 1, 3, 4, 5], [1, 3, 5], [1, 3, 5]]
    assert feature_cache.store_bytes(feature_cache.required_indices(chain, 3), tokens=7, channels=2) == 11 * 7 * 2 * 2


DIES_AT = (4, 7)
# One process imports the modules, then forks a child per image at which it is killed.
KILLED = """
import importlib.util, os, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("test_features", sys.argv[1])
own = importlib.util.module_from_spec(spec)
spec.loader.exec_module(own)
own.feature_cache.BATCH = 2
for dies_at in own.DIES_AT:
    folder = Path(sys.argv[2]) / str(dies_at)
    child = os.fork()
    if not child:
        os.dup2(2, 1)  # stdout is for the exit codes
        own.ask([range(10), range(9)], folder)
        own.ask([range(14), range(12)], folder, own.Counting(dies_at=dies_at))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Return the folder of each killed process by the number of the image at which it was killed."""
    folder = tmp_path_factory.mktemp("killed")
    words = [sys.executable, "-c", KILLED, __file__, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(words, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(DIES_AT), done.stderr
    return {number: folder / str(number) for number in DIES_AT}


@pytest.mark.slow
@pytest.mark.xdist_group("killed-features")
@pytest.mark.parametrize(("dies_at", "left"), zip(DIES_AT, (4 + 3, 3), strict=True))
def test_compute__killed_in_a_shard_repeats_only_that_shard(killed, whole, dies_at, left):
    """Kill the process while it computes four rows of view 0 or three rows of view 1."""
    folder = killed[dies_at]
    assert list((folder / "features").glob("*/.*.partial"))
    wanted = [range(14), range(12)]
    store, seen = ask(wanted, folder)
    assert seen == left
    assert_holds(store, wanted, whole)
    assert not list((folder / "features").glob("*/.*.partial"))
