"""Size of the pixels of a slide in micrometers (mpp), from the metadata of its file."""

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tifffile

# Plausible micrometers per pixel of microscopes and slide scanners. Many programs write a default resolution of 72 to
# 600 dots per inch (353 to 42 micrometers per pixel), which is outside of this range.
MPP_RANGE = (0.02, 20.0)
_PER_INCH, _PER_CENTIMETER = 2, 3
_TAG_UNITS = {_PER_INCH: 25_400.0, _PER_CENTIMETER: 10_000.0, 4: 1000.0, 5: 1.0}
_OME_UNITS = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}
_IMAGEJ_UNITS = {"micron", "microns", "µm", "um", "\\u00B5m"}
_APERIO = re.compile(r"\|\s*MPP\s*=\s*([0-9.eE+-]+)")

Pair = tuple[float, float]


def stated_mpp(file: "tifffile.TiffFile", page: "tifffile.TiffPage", size: tuple[int, int]) -> Pair | None:
    """Read the micrometers per pixel from the metadata of a file.

    Args:
        file: the open file.
        page: level 0 of the slide.
        size: width and height of level 0 in pixels.

    Returns:
        Micrometers per pixel, horizontally and vertically; None if the file contains no plausible values.
    """
    sources: tuple[Callable[[], Pair | None], ...] = (
        lambda: _aperio(page.description or "") if file.is_svs else None,
        lambda: from_ome(file.ome_metadata or "", size) if file.is_ome else None,
        lambda: from_philips(file.philips_metadata or "") if file.is_philips else None,
        lambda: _imagej(file, page) if file.is_imagej else None,
        lambda: _tags(page),
    )
    for read in sources:
        try:
            mpp = read()
        except (TypeError, ValueError, KeyError, ArithmeticError, AttributeError, ElementTree.ParseError):
            continue
        if mpp is not None and all(is_plausible(value) for value in mpp):
            return mpp
    return None


def is_plausible(mpp: float) -> bool:
    """Return True if a microscope can have pixels of this size in micrometers."""
    return math.isfinite(mpp) and MPP_RANGE[0] <= mpp <= MPP_RANGE[1]


def _aperio(description: str) -> Pair | None:
    match = _APERIO.search(description)
    return (float(match[1]), float(match[1])) if match else None


def from_ome(text: str, size: tuple[int, int]) -> Pair | None:
    """Read the pixel size from OME-XML.

    Args:
        text: the OME-XML.
        size: width and height in pixels of the image to search for.

    Returns:
        Micrometers per pixel, horizontally and vertically; None if there is no such image.
    """
    for pixels in ElementTree.fromstring(text).iter():
        if pixels.tag.rpartition("}")[2] != "Pixels":
            continue
        if (int(pixels.get("SizeX", 0)), int(pixels.get("SizeY", 0))) != size:
            continue
        x, y = (
            float(pixels.attrib[f"PhysicalSize{axis}"]) * _OME_UNITS[pixels.get(f"PhysicalSize{axis}Unit", "µm")]
            for axis in "XY"
        )
        return x, y
    return None


def from_philips(text: str) -> Pair | None:
    """Read the pixel size from the XML of a Philips file. The XML contains millimeters, the row spacing first.

    Args:
        text: the XML.

    Returns:
        Micrometers per pixel, horizontally and vertically; None if it is missing.
    """
    for attribute in ElementTree.fromstring(text).iter("Attribute"):
        if attribute.get("Name") == "DICOM_PIXEL_SPACING":
            y, x = (float(part.strip('"')) * 1000 for part in (attribute.text or "").split()[:2])
            return x, y
    return None


def _imagej(file: "tifffile.TiffFile", page: "tifffile.TiffPage") -> Pair | None:
    unit = (file.imagej_metadata or {}).get("unit")
    return _resolution(page, 1.0) if unit in _IMAGEJ_UNITS else None


def _tags(page: "tifffile.TiffPage") -> Pair | None:
    unit: Any = page.tags.valueof("ResolutionUnit", _PER_INCH)
    return _resolution(page, _TAG_UNITS[int(unit)]) if int(unit) in _TAG_UNITS else None


def _resolution(page: "tifffile.TiffPage", unit_um: float) -> Pair:
    """Return the micrometers per pixel from the tags with pixels per unit. `unit_um` is the unit in micrometers."""

    def um(tag: str) -> float:
        numerator, denominator = page.tags[tag].value
        return float(unit_um * denominator / numerator)

    return um("XResolution"), um("YResolution")
