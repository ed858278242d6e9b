"""Source `hcrf`: gastric histopathology (Sun et al. 2020), 140 normal and 560 abnormal images in two class folders."""

from pathlib import Path, PurePosixPath
from typing import Literal

from medtune.config.data import DataParams
from medtune.config.errors import InputError
from medtune.data import listing
from medtune.data.example import write_image
from medtune.data.sample import Sample
from medtune.data.sources import gashissdb

NAME = "HCRF gastric histopathology"
LICENSE = "defined by its authors; ask them before sharing images"
CITATION = (
    "C. Sun, C. Li, J. Zhang et al.: Gastric histopathology image segmentation using a hierarchical conditional "
    "random field. Biocybernetics and Biomedical Engineering 40(4):1535-1555, 2020."
)
KNOWN_ISSUES = ("There are no patient ids. Images of one patient may be in both train and test.",)
CLASSES = ("normal", "abnormal")


class Params(DataParams):
    """No further parameters. `data.split.protocol` must be image or hcrf-1-1-2 (`medtune/data/split_protocols.py`)."""

    source: Literal["hcrf"] = "hcrf"


def classes(params: Params) -> tuple[str, ...]:
    """Return the class names in index order."""
    return CLASSES


def positive_class(params: Params) -> str:
    """Return "abnormal", the class of images with cancer."""
    return "abnormal"


def expected(params: Params) -> dict[str, int]:
    """Return the number of images per class in the published set."""
    return {"normal": 140, "abnormal": 560}


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """List the images in folders called normal or abnormal, in upper or lower case and at any depth.

    Args:
        root: the data root.
        params: section `data` of params.yaml.

    Returns:
        One sample per image, sorted by path.

    Raises:
        InputError: there are no images, or the folder contains GasHisSDB.
    """
    root = listing.require_root(root)
    samples = []
    for path in listing.find_files(root):
        labels = [part.lower() for part in PurePosixPath(path).parts[:-1] if part.lower() in CLASSES]
        if labels:
            samples.append(Sample(path, labels[-1]))
    if not samples:
        raise InputError(
            f"data.root={root}: no image in a folder called normal or abnormal. Set data.root to the folder that "
            "contains the data set HCRF"
        )
    if gashissdb.is_layout(root, [sample.path for sample in samples]):
        raise InputError(
            f"data.source=hcrf: {root} looks like GasHisSDB, which contains every image as crops of 80, 120 and "
            "160 pixels. Use data.source=gashissdb and data.size to read one size."
        )
    return samples


def example(root: Path) -> dict[str, object]:
    """Write a tiny data set in this layout to `root` and return the params that read it."""
    for number in range(12):
        write_image(root / CLASSES[number % 2] / f"{number}.png", number)
    return {"split": {"protocol": "hcrf-1-1-2", "folds": 4}}
