import numpy as np
from PIL import Image

from medtune.data.contact_sheet_volumes import COLORS, draw_slice, fullest_slice, write_contact_sheet
from tests.stages.volume_folder import PHANTOM, prepare


def test_fullest_slice__has_the_most_labels():
    mask = np.zeros((4, 4, 9), np.uint8)
    assert fullest_slice(mask) == 4
    mask[1, 1, 1:8] = 3
    mask[:, :, 6] = 3
    assert fullest_slice(mask) == 6
    mask[0, 0, 2] = 1
    assert fullest_slice(mask) == 2


def test_draw_slice__left_side_is_on_the_right_and_anterior_is_up():
    image = np.zeros((20, 10))
    mask = np.zeros((20, 10), np.uint8)
    mask[:4, 8:] = 2  # patient's left, anterior
    tile = np.asarray(draw_slice(image, mask, (1.0, 2.0)))
    assert tile.shape == (160, 160, 3)  # 20 mm x 20 mm
    rows, columns = np.nonzero((tile == COLORS[1]).all(-1))
    assert rows.max() < 40
    assert columns.min() >= 120
    assert len(rows) == 2 * 32 + 2 * 30  # the outline of a square of 32 x 32 pixels
    assert not tile[100:].any()


def test_write_contact_sheet__shows_each_label(tmp_path):
    prepared = prepare(PHANTOM, tmp_path)
    write_contact_sheet(tmp_path / "sheet.png", prepared.folder, prepared.paths, (5, 5, 5), prepared.classes)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert sheet.shape == (3 * 176 + 16, 6 * 160, 3)
    for color in COLORS[:3]:
        assert (sheet == color).all(-1).sum() > 100
