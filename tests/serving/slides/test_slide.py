import numpy as np
import pytest
import tifffile

from medtune.data.synthetic.slide import draw_slide, write_pyramid, write_slide
from medtune.serving.pixels import DecodeError
from medtune.serving.slides.slide import Slide


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("slides") / "a.tif"
    write_slide(file, 3, side=512)
    return file


def open_error(path):
    with pytest.raises(DecodeError) as error, Slide.open(path):
        pass
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("box", [(0, 0, 1, 1), (3, 5, 70, 99), (100, 60, 128, 128)])
def test_read__equals_tifffile(path, level, box):
    expected = tifffile.imread(path, series=0, level=level)
    with Slide.open(path) as slide:
        result = slide.read(level, box)
    left, top, right, bottom = box
    np.testing.assert_array_equal(result, expected[top:bottom, left:right])


def test_levels__sizes_and_scales(path):
    with Slide.open(path) as slide:
        assert slide.levels == ((512, 512), (256, 256), (128, 128))
        assert slide.scale(2) == (4.0, 4.0)


def test_levels__pages_marked_as_reduced(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (256, 320, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as out:
        out.write(image, photometric="rgb", tile=(64, 64), metadata=None)
        out.write(image[::2, ::2], photometric="rgb", tile=(64, 64), subfiletype=1, metadata=None)
    with Slide.open(tmp_path / "a.tif") as slide:
        assert slide.size == (320, 256)
        np.testing.assert_array_equal(slide.read(0, (10, 20, 90, 80)), image[20:80, 10:90])


def test_open__aperio_file_with_thumbnail_label_and_macro(tmp_path):
    image = draw_slide(0, 1024, 0)
    text = "Aperio Image Library v12.0.15\r\n1024x1024 [0,0 1024x1024] (256x256) JPEG/RGB Q=70|AppMag = 20|MPP = 0.499"
    options = {"photometric": "rgb", "metadata": None}
    jpeg = {"tile": (256, 256), "compression": "jpeg", **options}
    with tifffile.TiffWriter(tmp_path / "a.svs") as out:
        out.write(image, description=text, **jpeg)
        out.write(image[::4, ::4], description=text, **options)
        out.write(image[::2, ::2], description=f"{text} -> 512x512", **jpeg)
        out.write(np.zeros((1100, 2000, 3), np.uint8), description="label 2000x1100", subfiletype=1, **options)
        out.write(np.zeros((100, 200, 3), np.uint8), description="macro 200x100", subfiletype=9, **options)
    with Slide.open(tmp_path / "a.svs") as slide:
        assert slide.levels == ((1024, 1024), (512, 512))
        assert slide.stated_mpp == (0.499, 0.499)
        result = slide.read(0, (256, 256, 768, 768))
    assert np.abs(result.astype(int) - image[256:768, 256:768]).mean() < 12


def test_read__planes_and_transparency(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(image, 2, 0), photometric="rgb", planarconfig="separate")
    with Slide.open(tmp_path / "a.tif") as slide:
        np.testing.assert_array_equal(slide.read(0, (5, 6, 9, 8)), image[6:8, 5:9])
    alpha = np.zeros((64, 64, 1), np.uint8)
    alpha[:32] = 255
    tifffile.imwrite(tmp_path / "b.tif", np.concatenate([image, alpha], 2), photometric="rgb", extrasamples=[2])
    with Slide.open(tmp_path / "b.tif") as slide:
        result = slide.read(0, (0, 0, 64, 64))
    np.testing.assert_array_equal(result[:32], image[:32])
    assert (result[32:] == 255).all()


def test_levels__single_level(tmp_path):
    write_slide(tmp_path / "a.tif", 3, side=256, levels=1)
    with Slide.open(tmp_path / "a.tif") as slide:
        assert slide.levels == ((256, 256),)
    (tmp_path / "b.tif").write_bytes(b"not a slide")
    assert "not a slide" in open_error(tmp_path / "b.tif")


@pytest.mark.parametrize(
    ("image", "options", "reason"),
    [
        (np.zeros((64, 64), np.uint8), {}, "no channels"),
        (np.zeros((64, 64, 3), np.uint16), {"photometric": "rgb"}, "3 channels of uint16"),
        (np.zeros((5, 64, 64), np.uint8), {"photometric": "minisblack"}, "expected"),
    ],
)
def test_open__unsupported_pixels_are_rejected(tmp_path, image, options, reason):
    tifffile.imwrite(tmp_path / "a.tif", image, **options)
    assert reason in open_error(tmp_path / "a.tif")


def test_open__error_names_unsupported_formats(tmp_path):
    (tmp_path / "a.mrxs").write_bytes(b"x")
    assert ".mrxs files cannot be read. Convert" in open_error(tmp_path / "a.mrxs")
    assert "does not exist" in open_error(tmp_path / "none.tif")


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_open__truncated_file_is_rejected(path, tmp_path, fraction):
    content = path.read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: int(fraction * len(content))])
    assert "damaged" in open_error(tmp_path / "a.tif")


@pytest.mark.parametrize("seed", range(8))
def test_open__damaged_tags_give_a_one_line_error(tmp_path, seed, capfd):
    file = tmp_path / "a.tif"
    write_slide(file, 3, side=128, levels=2)
    with tifffile.TiffFile(file) as opened:
        offsets = [opened.pages[0].offset, opened.pages[0].pages[0].offset]
    intact, rng = file.read_bytes(), np.random.default_rng(seed)
    reasons = []
    for _ in range(10):
        content = bytearray(intact)
        for position in rng.choice(offsets, 2) + rng.integers(0, 150, 2):
            content[position] = rng.integers(256)
        file.write_bytes(content)
        try:
            with Slide.open(file) as slide:
                assert slide.read(len(slide.levels) - 1, (0, 0, 1, 1)).shape == (1, 1, 3)
        except DecodeError as error:
            reasons.append(str(error))
    assert reasons
    assert not any("\n" in reason for reason in reasons)
    assert capfd.readouterr().err == ""


def test_read__damaged_pixels_are_rejected(tmp_path):
    file = tmp_path / "a.tif"
    image = write_slide(file, 3, side=256)
    with tifffile.TiffFile(file) as opened:
        position = opened.pages[0].dataoffsets[0]
    content = bytearray(file.read_bytes())
    content[position : position + 200] = bytes(200)
    file.write_bytes(content)
    with Slide.open(file) as slide, pytest.raises(DecodeError, match="damaged"):
        slide.read(0, (0, 0, *image.shape[:2]))


def test_levels__page_of_another_aspect_ratio_is_ignored(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as out:
        image = np.zeros((256, 256, 3), np.uint8)
        out.write(image, photometric="rgb", tile=(64, 64), subifds=1, metadata=None)
        out.write(image[:128, :110], photometric="rgb", tile=(64, 64), subfiletype=1, metadata=None)
    with Slide.open(tmp_path / "a.tif") as slide:
        assert slide.levels == ((256, 256),)


def test_write_pyramid__halves_are_means(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    write_pyramid(tmp_path / "a.tif", image, 1.0, 2)
    means = image.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(tifffile.imread(tmp_path / "a.tif", series=0, level=1) - means).max() <= 0.5
