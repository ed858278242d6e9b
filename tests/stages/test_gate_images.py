"""Images that the gate prepares for the champion, and bundle.json of single networks."""

import numpy as np
import pytest

from medtune.config.load import load
from medtune.data.manifest import load_prepared
from medtune.data.synthetic.slide import write_slide
from medtune.runtime.paths import RunPaths
from medtune.stages import data, gate_images
from tests.serving.test_dicom import write


@pytest.fixture
def prepare(tmp_path):
    def run(*sets):
        params = load(None, [f"data.root={tmp_path / 'raw'}", "data.positive=a", "data.split.folds=3", *sets])
        paths = RunPaths(tmp_path, tmp_path / "cache")
        data.run(params, paths)
        return params, paths, load_prepared(paths.prepared)

    return run


def champion(size, resize, prepared):
    return {"preprocessing": {"image_size": size, "resize": resize, "intensity": prepared.info["intensity"]}}


def test_images_for_champion__expands_frames_of_dicom_files(tmp_path, prepare):
    rng = np.random.default_rng(0)
    for number in range(6):
        folder = tmp_path / "raw" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        write(folder, rng.integers(0, 255, (2, 16, 16)).astype(np.uint8), PatientID=f"P{number}")
    params, paths, prepared = prepare("data.source=folder", "data.image_size=32", "data.frames=expand")
    rows = prepared.indices(1)["test"]
    images = gate_images.images_for_champion(params, paths, prepared, rows, champion(16, "squash", prepared))
    assert images.shape == (len(rows), 16, 16, 3)
    shrunk = prepared.images[rows].reshape(len(rows), 16, 2, 16, 2, 3).mean((2, 4))
    assert np.abs(shrunk - images).mean() < 30 < np.abs(shrunk - images[::-1]).mean()


def test_images_for_champion__tiles_are_not_resized(tmp_path, prepare):
    for number in range(6):
        write_slide(tmp_path / "raw" / "ab"[number % 2] / f"{number}.tif", number, side=256, kind=number % 2)
    tiles = "data.tiles={size_um: 16.0, max_per_slide: 2}"
    params, paths, prepared = prepare(
        "data.source=slides", "data.image_size=32", tiles, "data.patient_pattern=(\\d)[.]tif", "data.resize=pad"
    )
    rows = prepared.indices(1)["test"]
    images = gate_images.images_for_champion(params, paths, prepared, rows, champion(32, "squash", prepared))
    assert np.array_equal(images, prepared.images[rows])


def test_member_document__has_decision_and_temperature_of_the_network():
    members = [{"fold": 0, "temperature": 1.0, "decision": {"kind": "a"}}, {"fold": 1, "temperature": 2.0}]
    document = {"members": members, "decision": {"kind": "all"}}
    assert gate_images.member_document(document, 0) == {"members": members[:1], "decision": {"kind": "a"}}
    assert gate_images.member_document(document, 1) == {"members": members[1:], "decision": {"kind": "all"}}
    single_network = {"temperature": 1.0, "decision": {"kind": "all"}}
    assert gate_images.member_document(single_network, 0) == single_network
