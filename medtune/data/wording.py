"""Words for the samples of a data set, with which messages and reports name images, slides or volumes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medtune.config.data import DataParams


@dataclass(frozen=True)
class Wording:
    """Words for a data set.

    Attributes:
        item: a sample: image, slide or volume.
        point: an element of its grid: pixel or voxel.
        length: unit of distances. Images without a pixel spacing have distances in pixels.
        size: unit of sizes that are computed in ml. An image counts as 1 mm thick.
        extent: size of a label: area or volume.
    """

    item: str
    point: str = "pixel"
    length: str = "mm"
    size: str = "1,000 mm²"
    extent: str = "area"

    @property
    def items(self) -> str:
        """Plural of `item`."""
        return f"{self.item}s"

    @property
    def points(self) -> str:
        """Plural of `point`."""
        return f"{self.point}s"

    @property
    def is_planar(self) -> bool:
        """True unless the samples are volumes."""
        return self.item != "volume"

    @property
    def n_axes(self) -> int:
        """Number of the axes that messages show."""
        return 2 if self.is_planar else 3

    def title(self, title: str) -> str:
        """Return the title of a metric of volumes with the units of this data set."""
        for words in (("(mm)", f"({self.length})"), ("(ml)", f"({self.size})"), ("volume", self.extent)):
            title = title.replace(*words)
        return title


VOLUMES = Wording("volume", "voxel", "mm", "ml", "volume")


def wording(info: Mapping[str, Any]) -> Wording:
    """Return the words for prepared data.

    Args:
        info: content of dataset.json, or a mapping with the entry `volumes` of bundle.json.

    Returns:
        The words.
    """
    if "volumes" not in info:
        return Wording("slide" if "n_slides" in info else "image")
    if "images" not in info["volumes"]:
        return VOLUMES
    # A pixel without a known spacing has a side of 1 mm, so that both units are correct.
    if list(info["volumes"]["images"].get("pixel_mm") or ()) == [1.0, 1.0]:
        return Wording("image", length="pixels", size="1,000 pixels")
    return Wording("image")


def wording_of_params(data: DataParams) -> Wording:
    """Return the words for section data, before the spacing is known."""
    return VOLUMES if data.has_volumes and not getattr(data, "is_planar", False) else Wording("image")
