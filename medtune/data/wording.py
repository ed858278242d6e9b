"""Words and units that messages and reports use for the samples of a data set: images, slides or volumes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medtune.config.data import DataParams


@dataclass(frozen=True)
class Wording:
    """Words for a data set.

    Attributes:
        item: word for a sample: image, slide or volume.
        point: word for an element of its grid: pixel or voxel.
        length: unit of distances: mm, or pixels for images without a known pixel spacing.
        size: unit of sizes that are computed in ml. An image counts as 1 mm thick, so 1 ml is 1,000 mm².
        extent: word for the size of a label: area or volume.
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
        """Number of axes for which messages state a size: 2 or 3."""
        return 2 if self.is_planar else 3

    def title(self, title: str) -> str:
        """Convert the title of a metric of volumes to the words and units of this data set."""
        for words in (("(mm)", f"({self.length})"), ("(ml)", f"({self.size})"), ("volume", self.extent)):
            title = title.replace(*words)
        return title


VOLUMES = Wording("volume", "voxel", "mm", "ml", "volume")


def wording(info: Mapping[str, Any]) -> Wording:
    """Return the words for prepared data.

    Args:
        info: content of dataset.json, or of bundle.json. Only the entries `volumes` and `n_slides` are used.

    Returns:
        The words.
    """
    if "volumes" not in info:
        return Wording("slide" if "n_slides" in info else "image")
    if "images" not in info["volumes"]:
        return VOLUMES
    # Pixels without a known spacing are prepared as 1 mm wide. Distances in mm are then also distances in pixels.
    if list(info["volumes"]["images"].get("pixel_mm") or ()) == [1.0, 1.0]:
        return Wording("image", length="pixels", size="1,000 pixels")
    return Wording("image")


def wording_of_params(data: DataParams) -> Wording:
    """Return the words for section `data`. Unlike `wording`, this function ignores slides and the pixel spacing."""
    return VOLUMES if data.has_volumes and not getattr(data, "is_planar", False) else Wording("image")
