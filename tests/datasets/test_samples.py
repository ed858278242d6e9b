import numpy as np
from PIL import Image

from datasets.samples import write_samples


def test_write_samples__a_row_a_class(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (15, 20, 20, 3), np.uint8)
    write_samples(tmp_path / "samples.png", images, np.array([0] * 14 + [1]), ["Größe", "b"])
    with Image.open(tmp_path / "samples.png") as sheet:
        assert sheet.size == (1024, 288)
