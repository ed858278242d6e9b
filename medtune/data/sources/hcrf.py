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
LICENSE = "as given by its authors; ask them before passing images on"
CITATION = (
    "C. Sun, C. Li, J. Zhang et al.: Gastric histopathology image segmentation using a hierarchical conditional "
    "random field. Biocybernetics and Biomedical Engineering 40(4):1535-1555, 2020."
)
KNOWN_ISSUES = ("There are no patient ids: that one patient's images are in both train and test cannot be excluded.",)
CLASSES = ("normal", "abnormal")


class Params(DataParams):
    """No options of its own: `data.split.protocol` is image or hcrf-1-1-2."""

    source: Literal["hcrf"] = "hcrf"


def classes(params: Params) -> tuple[str, ...]:
    """Class names, in the order of their indices."""
    return CLASSES


def positive_class(params: Params) -> str:
    """Abnormal: the images with cancer."""
    return "abnormal"


def expected(params: Params) -> dict[str, int]:
    """Images per class in the published set."""
    return {"normal": 140, "abnormal": 560}


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """Every image under a folder called normal or abnormal (any case, any depth), sorted by path.

    Raises:
        InputError: there is none, or the folder holds GasHisSDB.
    """
    root = listing.require_root(root)
    found = []
    for path in listing.find_files(root):
        labels = [part.lower() for part in PurePosixPath(path).parts[:-1] if part.lower() in CLASSES]
        if labels:
            found.append(Sample(path, labels[-1]))
    if not found:
        raise InputError(f"data.root {root}: no image in a folder called normal or abnormal")
    if gashissdb.is_layout(root, [sample.path for sample in found]):
        raise InputError(
            f"data.source=hcrf: {root} looks like GasHisSDB, whose crops of 80, 120 and 160 pixels show the same 600 "
            "images and must not be pooled. Use data.source=gashissdb and data.size."
        )
    return found


def example(root: Path) -> dict[str, object]:
    """Write a tiny data set in this layout to `root` and return the params that read it."""
    for number in range(12):
        write_image(root / CLASSES[number % 2] / f"{number}.png", number)
    return {"split": {"protocol": "hcrf-1-1-2", "folds": 4}}
