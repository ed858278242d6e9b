"""Feature store: rows in several shards, and errors for missing rows."""

import numpy as np
import pytest
import torch

from medtune.runtime.artifact import commit, partial_dir
from medtune.training.feature_store import FEATURES_FILE, INDICES_FILE, FeatureShard, FeatureStore, load_shards

N = 40


def value(row, view):
    return np.full((2, 3), row + 100 * view, np.float16)


def make_shard(view, *rows):
    return FeatureShard(np.array(rows), np.stack([value(row, view) for row in rows]))


def write(path, key, *rows):
    partial = partial_dir(path)
    partial.mkdir(parents=True)
    np.save(partial / INDICES_FILE, np.array(rows))
    np.save(partial / FEATURES_FILE, np.stack([value(row, 0) for row in rows]))
    commit(path, key, {})


@pytest.fixture
def store():
    """Two views: the first has three shards, the second lacks rows 5 and 6."""
    return FeatureStore(
        N, [[make_shard(0, 3, 1), make_shard(0, 39), make_shard(0, 5, 6)], [make_shard(1, 39, 3), make_shard(1, 1)]]
    )


def test_fetch__returns_rows_in_their_views(store):
    rows, views = np.array([39, 1, 5, 1, 3, 39]), np.array([0, 1, 0, 0, 1, 1])
    features = store.fetch(rows, views)
    assert features.dtype == torch.float16
    assert np.array_equal(features, np.stack([value(*pair) for pair in zip(rows, views, strict=True)]))
    assert np.array_equal(store.fetch(rows)[:, 0, 0], rows)


@pytest.mark.parametrize(("rows", "views", "message"), [
    ([3, 7, 1], None, "image 7 is not stored in view 0"),
    ([3, 5, 6], [1, 0, 1], "image 6 is not stored in view 1"),
])  # fmt: skip
def test_fetch__names_a_missing_row(store, rows, views, message):
    with pytest.raises(LookupError, match=message):
        store.fetch(np.array(rows), None if views is None else np.array(views))


def test_load_shards__reuses_the_number_of_a_damaged_shard(tmp_path):
    assert load_shards(tmp_path, "k") == ([], tmp_path / "0000")
    for number in range(3):
        write(load_shards(tmp_path, "k")[1], "k", number, 10 + number)
    shards, path = load_shards(tmp_path, "k")
    assert sorted(row for shard in shards for row in shard.indices) == [0, 1, 2, 10, 11, 12]
    assert path.name == "0003"
    damaged = tmp_path / "0001" / FEATURES_FILE
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x7f")
    shards, path = load_shards(tmp_path, "k")
    assert sorted(row for shard in shards for row in shard.indices) == [0, 2, 10, 12]
    assert path.name == "0001"
    assert load_shards(tmp_path, "another")[0] == []
