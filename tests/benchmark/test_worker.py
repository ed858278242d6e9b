"""A worker reads and verifies a data set once, and again when a file of it changed."""

from medtune.benchmark import worker
from medtune.config.load import load
from medtune.runtime.paths import Paths
from medtune.stages import data

TINY = ["data.image_size=16", "data.patients=20", "data.images_per_patient=1"]


def test_prepared__verified_once_for_as_long_as_its_files_stay(tmp_path):
    data.run(load(None, TINY), paths := Paths(tmp_path, tmp_path / "cache"))
    folder = paths.prepared
    first = worker._prepared(folder, worker._state(folder))
    assert worker._prepared(folder, worker._state(folder)) is first
    (folder / "images.npy").touch()
    again = worker._prepared(folder, worker._state(folder))
    assert again is not first
    assert again.digest == first.digest
