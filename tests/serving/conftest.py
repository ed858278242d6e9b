"""Small bundle whose two classes depend on the red channel of the image."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.robustness.tiny_bundle import red_model, red_probability, write_bundle


@pytest.fixture
def by_hand() -> SimpleNamespace:
    """Return the functions `write(folder, content, **changes)`, `model(external)` and `probability(images)`."""
    return SimpleNamespace(write=write_bundle, model=red_model, probability=red_probability)


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Write five images of several sizes and formats and a text file into two folders."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    for name, size in (("b.png", (8, 8)), ("a.PNG", (20, 10)), ("c.bmp", (8, 8)), ("deep/d.tif", (5, 9))):
        array = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        array[..., 0] //= 1 + len(name) % 3
        Image.fromarray(array).save(folder / name)
    Image.new("L", (12, 12), 90).save(folder / "deep" / "e.jpg")
    (folder / "notes.txt").write_text("not an image")
    return folder
