"""Stage data on images with masks: prepared values, and problems that are found before anything is prepared."""

import numpy as np
import pytest
from PIL import Image

from medtune.config.errors import InputError
from medtune.runtime.paths import RunPaths
from tests.stages.volume_folder import prepare, write_example

MODEL = {"backbone": "none", "weights": "none", "head": {"kind": "decoder"}, "peft": {"method": "none"}}


@pytest.fixture
def section(tmp_path):
    return write_example("masks", tmp_path / "raw")


def run(section, out):
    return prepare(section, out, model=MODEL)


def replace(path, pixels, **options):
    path.unlink()
    Image.fromarray(np.asarray(pixels)).save(path, **options)


def test_run__prepares_slices(section, tmp_path):
    prepared = run(section, tmp_path / "out")
    volumes = prepared.info["volumes"]
    assert (volumes["channels"], volumes["spacing"]) == (["red", "green", "blue"], [1, 1, 1])
    assert (volumes["patch"], volumes["images"]) == ([32, 24, 1], {"pixel_mm": [1, 1]})
    row = prepared.paths.index("images/P1_0.png")
    mask = np.asarray(Image.open(tmp_path / "raw/masks/P1_0.png"))
    np.testing.assert_array_equal(prepared.volumes.truth(row)[..., 0].T[::-1, ::-1], mask)
    np.testing.assert_array_equal(prepared.volumes.mask(row), prepared.volumes.truth(row))
    image = prepared.volumes.image(row).astype(np.float32)
    assert image.shape == (3, 32, 24, 1)
    np.testing.assert_allclose(image.mean(axis=(1, 2, 3)), 0, atol=1e-2)
    assert prepared.info["n_patients"] == 6


def test_run__gray_images_and_mapped_values(section, tmp_path):
    raw = tmp_path / "raw"
    for path in (raw / "images").iterdir():
        replace(path, np.asarray(Image.open(path))[..., 1].astype(np.uint16) * 16)
    for path in (raw / "masks").iterdir():
        replace(path, np.array([0, 255, 128], np.uint8)[np.asarray(Image.open(path))])
    changed = {**section, "color": "gray", "mask_values": {255: 1, 128: 2}}
    prepared = run(changed, tmp_path / "out")
    assert prepared.volumes.channels == 1
    assert prepared.info["counts"]["all"] == {"lesion": 12, "vessel": 12}


@pytest.mark.parametrize(
    ("name", "pixels", "problem"),
    [
        ("masks", np.zeros((24, 30), np.uint8), "the mask has 30 x 24 pixels, but the image P0_0.png has 32 x 24"),
        ("masks", np.full((24, 32), 3, np.uint8), "the mask has the labels 3, which are not among 0, 1, 2"),
        ("masks", np.zeros((24, 32, 3), np.uint8), "colors (RGB), but a mask has one channel"),
        ("masks", np.eye(24, 32, dtype=np.uint8) * 255, "the values are 0 and 255. If 255 is label 1, add --set"),
        ("images", np.full((24, 32), 9, np.uint8), "the volume is constant: each voxel is 9"),
        ("images", None, "damaged or not an image"),
        ("masks", None, "damaged or not an image"),
    ],
)
def test_run__invalid_file_is_named(section, tmp_path, name, pixels, problem):
    path = tmp_path / "raw" / name / "P0_0.png"
    if pixels is None:
        path.write_bytes(path.read_bytes()[:-20])
    else:
        replace(path, pixels)
    out = tmp_path / "out"
    with pytest.raises(InputError) as error:
        run(section, out)
    text = str(error.value)
    assert "\n" not in text
    assert "P0_0.png" in text
    assert problem in text
    assert not RunPaths.from_env(out).prepared.exists()


def test_run__different_spacing_needs_the_spacing_in_prediction(section, tmp_path):
    rows = ["path,mask,patient,spacing"]
    for number, path in enumerate(sorted((tmp_path / "raw" / "images").iterdir())):
        rows.append(f"images/{path.name},masks/{path.name},P{number // 2},{0.5 if number % 2 else 1}")
    (tmp_path / "raw" / "t.csv").write_text("\n".join(rows) + "\n")
    changed = {**section, "csv": "t.csv", "patient_pattern": None}
    prepared = run(changed, tmp_path / "out")
    assert prepared.info["volumes"]["images"] == {"pixel_mm": None}
    assert len({tuple(entry.shape) for entry in prepared.volumes.entries}) == 2
