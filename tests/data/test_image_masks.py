import numpy as np
import pytest
from PIL import Image

from medtune.data.image_masks import check_pair, read_image_mask
from medtune.serving.pixels import DecodeError

MASK = np.array([[0, 1, 2], [2, 0, 0]], np.uint8)
TURNED = 6  # EXIF orientation: the image is stored rotated by 90 degrees


def save(path, pixels, mode=None, **options):
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def read(path, values=None, labels=2, size=(3, 2)):
    return read_image_mask(path, labels, values, size, "a.jpg")


def message(path, **options):
    with pytest.raises(DecodeError) as error:
        read(path, **options)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value).removeprefix(f"{path}: ")


def palette(path):
    image = Image.fromarray(MASK, "P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(path)
    return path


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: save(folder / "m.png", MASK),
        lambda folder: save(folder / "m.tif", MASK.astype(np.uint16)),
        lambda folder: save(folder / "m.tiff", MASK.astype(np.float32)),
        lambda folder: palette(folder / "m.png"),
    ],
    ids=["png", "tiff of 16 bits", "tiff of integers as floats", "palette"],
)
def test_read__returns_the_numbers_in_ras(tmp_path, write):
    found = read(write(tmp_path))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[..., 0].T[::-1, ::-1], MASK)


def test_read__one_bit_is_label_1(tmp_path):
    found = read(save(tmp_path / "m.png", MASK == 2))
    assert sorted(np.unique(found).tolist()) == [0, 1]


def test_read__mapped_values(tmp_path):
    path = save(tmp_path / "m.png", np.array([0, 255, 128], np.uint8)[MASK])
    np.testing.assert_array_equal(read(path, {255: 1, 128: 2})[..., 0].T[::-1, ::-1], MASK)
    assert message(path, values={255: 1}).startswith("the mask has the values 128, which are not among 0, 255")


@pytest.mark.parametrize(
    ("pixels", "problem"),
    [
        (MASK * 3, "the mask has the labels 3, 6, which are not among 0, 1, 2. Correct the mask"),
        (np.where(MASK, 255, 0).astype(np.uint8), "the values are 0 and 255. If 255 is label 1, add --set 'data.mask"),
        (np.repeat(MASK[..., None], 3, 2), "colors (RGB), but a mask has one channel of label numbers"),
        (np.zeros((2, 4), np.uint8), "the mask has 4 x 2 pixels, but the image a.jpg has 3 x 2"),
    ],
)
def test_read__invalid_mask_is_an_error(tmp_path, pixels, problem):
    assert message(save(tmp_path / "m.png", pixels)).startswith(problem)


def test_read__damaged_and_lossy_files_are_an_error(tmp_path):
    path = save(tmp_path / "m.png", MASK)
    path.write_bytes(path.read_bytes()[:-20])
    assert message(path).startswith("damaged or not an image")
    save(tmp_path / "m.jpg", MASK).rename(path)
    assert message(path) == "JPEG changes label numbers. Save the mask as PNG from its source"
    assert message(save(tmp_path / "m.tif", MASK * np.float32(0.5))).startswith("a mask must contain integers")


def test_check__sizes_and_orientations_must_agree(tmp_path):
    image, mask = save(tmp_path / "a.jpg", MASK), save(tmp_path / "m.png", MASK)
    check_pair(image, mask)
    with pytest.raises(DecodeError, match=r"m\.png: the mask has 3 x 3 pixels, but the image a\.jpg has 3 x 2"):
        check_pair(image, save(tmp_path / "m.png", MASK[[0, 1, 1]]))
    exif = Image.Exif()
    exif[0x0112] = TURNED
    save(image, MASK, exif=exif)
    with pytest.raises(DecodeError, match=r"m\.png: the EXIF orientation is 1, but that of the image a\.jpg is 6"):
        check_pair(image, save(tmp_path / "m.png", MASK))
    turned = save(tmp_path / "m.png", MASK, exif=exif)
    check_pair(image, turned)
    assert read(turned, size=(2, 3)).shape == (2, 3, 1)
