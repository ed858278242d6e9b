import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from medtune.serving.slides.pixel_size import from_ome, from_philips, is_plausible, stated_mpp
from medtune.serving.slides.slide import Slide

IMAGE = np.full((64, 96, 3), 200, np.uint8)


def read(path):
    with tifffile.TiffFile(path) as file:
        return stated_mpp(file, file.pages[0], (96, 64))


def write(path, **options):
    tifffile.imwrite(path, IMAGE, photometric="rgb", tile=(16, 16), **options)
    return path


@pytest.mark.parametrize(("unit", "per_mpp"), [("CENTIMETER", 10_000), ("INCH", 25_400)])
def test_stated_mpp__resolution_tags(tmp_path, unit, per_mpp):
    path = write(tmp_path / "a.tif", metadata=None, resolution=(per_mpp / 0.5, per_mpp / 0.25), resolutionunit=unit)
    assert read(path) == pytest.approx((0.5, 0.25), rel=1e-6)


@pytest.mark.parametrize("dpi", [72, 96, 150, 300, 600])
def test_stated_mpp__default_dots_per_inch_are_ignored(tmp_path, dpi):
    assert read(write(tmp_path / "a.tif", metadata=None, resolution=(dpi, dpi), resolutionunit="INCH")) is None


def test_stated_mpp__no_unit_is_none(tmp_path):
    assert read(write(tmp_path / "a.tif", metadata=None, resolution=(2, 2), resolutionunit="NONE")) is None
    assert read(write(tmp_path / "b.tif", metadata=None)) is None


def test_stated_mpp__aperio(tmp_path):
    text = "Aperio Image Library v11\r\n96x64 [0,0 96x64] JPEG/RGB Q=70|AppMag = 40|MPP = 0.2527|Left = 1"
    path = write(tmp_path / "a.svs", metadata=None, description=text, resolution=(72, 72), resolutionunit="INCH")
    assert read(path) == (0.2527, 0.2527)


def test_stated_mpp__ome(tmp_path):
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 250.0, "PhysicalSizeYUnit": "nm"}
    path = write(tmp_path / "a.ome.tif", metadata={"axes": "YXS", **size})
    assert read(path) == pytest.approx((0.5, 0.25))


def test_stated_mpp__imagej(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, imagej=True, resolution=(4, 4), metadata={"unit": "um"})
    assert read(tmp_path / "a.tif") == pytest.approx((0.25, 0.25))
    tifffile.imwrite(tmp_path / "b.tif", IMAGE, imagej=True, resolution=(4, 4), metadata={"unit": "pixel"})
    assert read(tmp_path / "b.tif") is None


def test_from_ome__image_of_another_size_is_none():
    text = '<OME xmlns="x"><Image><Pixels SizeX="9" SizeY="9" PhysicalSizeX="1" PhysicalSizeY="1"/></Image></OME>'
    assert from_ome(text, (96, 64)) is None
    assert from_ome(text, (9, 9)) == (1.0, 1.0)


def test_from_philips__row_spacing_is_first():
    text = '<DataObject><Attribute Name="DICOM_PIXEL_SPACING">"0.0005" "0.00025"</Attribute></DataObject>'
    assert from_philips(text) == pytest.approx((0.25, 0.5))
    assert from_philips("<DataObject/>") is None


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_is_plausible__accepts_values_in_range(value):
    assert is_plausible(value) == (0.02 <= value <= 20)


@given(st.text())
def test_stated_mpp__any_description_gives_a_plausible_size_or_none(tmp_path_factory, text):
    path = write(tmp_path_factory.mktemp("x") / "a.tif", metadata=None)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        page.description = "Aperio " + text
        result = stated_mpp(file, page, (96, 64))
    assert result is None or all(map(is_plausible, result))


def test_slide__has_the_stated_size(tmp_path):
    path = write(tmp_path / "a.tif", metadata=None, resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    with Slide.open(path) as slide:
        assert slide.stated_mpp == pytest.approx((0.5, 0.5))
        assert slide.size == (96, 64)
