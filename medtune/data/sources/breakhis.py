"""Source `breakhis`: breast tumor histopathology (Spanhol et al. 2016), complete or in part, in any folder layout.

Images are identified by their names, `SOB_<B|M>_<subtype>-<year>-<slide>-<magnification>-<number>.png`. The root can
be the official archive. Protocol `official` needs the published lists dsfold1.txt to dsfold5.txt under the root.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from medtune.config.data import DataParams
from medtune.config.errors import InputError
from medtune.data import listing
from medtune.data.archive import is_archive, unpack_cached
from medtune.data.download import download as fetch_file
from medtune.data.example import write_image
from medtune.data.sample import Sample

NAME = "BreakHis"
LICENSE = "CC BY 4.0"
CITATION = (
    "F. A. Spanhol, L. S. Oliveira, C. Petitjean, L. Heutte: A Dataset for Breast Cancer Histopathological Image "
    "Classification. IEEE Transactions on Biomedical Engineering 63(7):1455-1462, 2016."
)
MISLABELED_PATIENT = "13412"
KNOWN_ISSUES = (
    f"Patient {MISLABELED_PATIENT} is labeled both ductal and lobular carcinoma with the same images, also in the "
    "published folds. Protocol official leaves this patient out.",
)
ARCHIVE = "BreaKHis_v1.tar.gz"
URL = f"http://www.inf.ufpr.br/vri/databases/{ARCHIVE}"

SUBTYPES = {
    "A": "adenosis", "F": "fibroadenoma", "PT": "phyllodes_tumor", "TA": "tubular_adenoma",
    "DC": "ductal_carcinoma", "LC": "lobular_carcinoma", "MC": "mucinous_carcinoma", "PC": "papillary_carcinoma",
}  # fmt: skip
MALIGNANT = ("DC", "LC", "MC", "PC")
MAGNIFICATIONS = (40, 100, 200, 400)
# Number of published images of each subtype at magnification 40, 100, 200 and 400.
COUNTS = {
    "A": (114, 113, 111, 106), "F": (253, 260, 264, 237), "PT": (109, 121, 108, 115), "TA": (149, 150, 140, 130),
    "DC": (864, 903, 896, 788), "LC": (156, 170, 163, 137), "MC": (205, 222, 196, 169), "PC": (145, 142, 135, 138),
}  # fmt: skip
_IMAGE = re.compile(
    r"SOB_(?P<kind>[BM])_(?P<code>A|F|TA|PT|DC|LC|MC|PC)-(?P<year>\d+)-(?P<slide>(?P<case>\d+)[A-Z]*)"
    r"-(?P<magnification>40|100|200|400)-\d+\.\w+"
)


class Params(DataParams):
    """Labels, magnification and download."""

    source: Literal["breakhis"] = "breakhis"
    labels: Literal["malignant4", "binary", "subtypes8"] = "binary"
    magnification: Literal[40, 100, 200, 400] | None = Field(
        200, description="magnification of the images. null: all four"
    )
    download: bool = Field(False, description="download the archive (4 GB) to root")
    url: str = Field(URL, description="address of the archive")
    md5: str | None = Field(
        None,
        description="checksum of the archive, if you know it. No checksum is published",
        examples=["d41d8cd98f00b204e9800998ecf8427e"],
    )


def classes(params: Params) -> tuple[str, ...]:
    """Return the class names in index order."""
    if params.labels == "binary":
        return ("benign", "malignant")
    return tuple(name for code, name in SUBTYPES.items() if params.labels == "subtypes8" or code in MALIGNANT)


def positive_class(params: Params) -> str | None:
    """Return "malignant" for the binary labels (Spanhol et al. 2016), otherwise None."""
    return "malignant" if params.labels == "binary" else None


def expected(params: Params) -> dict[str, int]:
    """Return the number of images per class in the published set."""
    column = None if params.magnification is None else MAGNIFICATIONS.index(params.magnification)
    total = dict.fromkeys(classes(params), 0)
    for code, counts in COUNTS.items():
        if (label := _label(code, params)) is not None:
            total[label] += sum(counts) if column is None else counts[column]
    return total


def fetch(root: Path, params: Params) -> None:
    """Download the archive to `root`, unless `root` contains images or is itself an archive."""
    if is_archive(root) or (root.is_dir() and any(map(image_name, listing.find_files(root)))):
        return
    fetch_file(params.url, root / ARCHIVE, params.md5)


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """List the images that `params.labels` and `params.magnification` select.

    Args:
        root: the data root: a folder or the official archive.
        params: section `data` of params.yaml.

    Returns:
        One sample per image, sorted by path.

    Raises:
        InputError: no image is selected, an image occurs twice, or a published list is missing or damaged.
    """
    data_root = listing.require_root(root)
    root = _image_folder(data_root)
    by_name: dict[str, Sample] = {}
    for path in listing.find_files(root):
        match = image_name(path)
        label = match and _label(match["code"], params)
        if match is None or label is None or params.magnification not in (None, int(match["magnification"])):
            continue
        name = path.rpartition("/")[2]
        if name in by_name:
            raise InputError(f"{root}: duplicate image {name}: {by_name[name].path} and {path}. Keep one copy")
        metadata = {key: match[key] for key in ("code", "slide", "year", "magnification")}
        by_name[name] = Sample(path, label, match["case"], metadata, file=root / path)
    if not by_name:
        raise InputError(
            f"data.root={root}: no BreakHis image with data.labels={params.labels} at magnification "
            f"{params.magnification or 'any'} (names such as SOB_M_DC-14-2523-200-001.png). Set data.root to the "
            "folder that contains the data set BreakHis"
        )
    samples = sorted(by_name.values(), key=lambda sample: sample.path)
    return _with_published_splits(samples, data_root) if params.split.protocol == "official" else samples


def inputs(root: Path | None, params: Params) -> list[Path]:
    """Return the published fold lists for the protocol `official`, otherwise an empty list."""
    return list(_fold_lists(listing.require_root(root)).values()) if params.split.protocol == "official" else []


def image_name(path: str) -> re.Match[str] | None:
    """Parse the file name of a path. Return None for another name, or if kind (B or M) and subtype do not match."""
    match = _IMAGE.fullmatch(path.rpartition("/")[2])
    return match if match and (match["code"] in MALIGNANT) == (match["kind"] == "M") else None


def _label(code: str, params: Params) -> str | None:
    """Return the class of a subtype code, or None if `params.labels` leaves the subtype out."""
    if params.labels == "binary":
        return "malignant" if code in MALIGNANT else "benign"
    return SUBTYPES[code] if params.labels == "subtypes8" or code in MALIGNANT else None


def _image_folder(root: Path) -> Path:
    """Return the folder with the images: `root`, or the folder to which the archive was unpacked."""
    if is_archive(root):
        return unpack_cached(root)
    archive = root / ARCHIVE
    if is_archive(archive) and not any(map(image_name, listing.find_files(root))):
        return unpack_cached(archive)
    return root


def _fold_lists(root: Path) -> dict[int, Path]:
    """Return the files of the five lists by fold number, from `root` or from the unpacked archive."""
    lists: dict[int, Path] = {}
    for folder in dict.fromkeys([root, _image_folder(root)]):
        for path in listing.find_files(folder, (".txt",)) if folder.is_dir() else []:
            if match := re.fullmatch(r"dsfold([1-5])\.txt", path.rpartition("/")[2]):
                lists.setdefault(int(match[1]), folder / path)
    if missing := [f"dsfold{fold}.txt" for fold in range(1, 6) if fold not in lists]:
        raise InputError(
            f"data.split.protocol=official: {', '.join(missing)} not found under {root}. Add the published lists, or "
            "choose another protocol"
        )
    return dict(sorted(lists.items()))


def _with_published_splits(samples: list[Sample], root: Path) -> list[Sample]:
    """Add the five published splits. Each split is random, so an image can be in several test sets or in none."""
    split_by_name = [_read_list(file) for file in _fold_lists(root).values()]

    def splits(sample: Sample) -> tuple[str, ...]:
        # The images of this patient have two labels. The empty name is in no list, so they are unused.
        name = "" if sample.patient_id == MISLABELED_PATIENT else _stem(sample.path)
        return tuple(fold.get(name, "unused") for fold in split_by_name)

    return [replace(sample, published_splits=splits(sample)) for sample in samples]


def _read_list(file: Path) -> dict[str, str]:
    """Return the split (train or test) by image name. A line is `name|magnification|fold|split`."""
    splits = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        fields = [field.strip() for field in line.split("|")]
        if not line.strip():
            continue
        if len(fields) != 4 or fields[3] not in ("train", "test"):
            raise InputError(
                f"{file} line {number} is {line!r}; expected name|magnification|fold|train or test. Restore the "
                "published file"
            )
        splits[_stem(fields[0])] = fields[3]
    return splits


def _stem(path: str) -> str:
    """Return the file name of a path without its suffix."""
    return path.rpartition("/")[2].rpartition(".")[0]


def example(root: Path) -> dict[str, object]:
    """Write a tiny data set in this layout to `root` and return the params that read it."""
    for number in range(12):
        kind = ("B_F", "M_DC")[number % 2]
        for image in (1, 2):
            write_image(root / f"SOB_{kind}-14-{number}AB-200-{image:03d}.png", 10 * number + image)
    return {}
