"""Source `medmnist`: two-dimensional data sets of MedMNIST v2 (Yang et al. 2023) from .npz files."""

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from medtune.config.data import DataParams
from medtune.config.errors import InputError
from medtune.data.download import download as fetch_file
from medtune.data.listing import require_root
from medtune.data.npz import RowReader, array_names
from medtune.data.sample import Sample

NAME = "MedMNIST v2"
LICENSE = "CC BY 4.0 (dermamnist: CC BY-NC 4.0)"
CITATION = (
    "J. Yang, R. Shi, D. Wei, Z. Liu, L. Zhao, B. Ke, H. Pfister, B. Ni: MedMNIST v2, a large-scale lightweight "
    "benchmark for 2D and 3D biomedical image classification. Scientific Data 10:41, 2023."
)
KNOWN_ISSUES = (
    "The files have no patient ids. Only the published split can separate patients, but nothing in the files shows "
    "that it does.",
)
SPLITS = ("train", "val", "test")

_ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left",
    "lung-right", "pancreas", "spleen",
)  # fmt: skip
# Sets whose images can show several findings.
FINDINGS: dict[str, tuple[str, ...]] = {
    "chestmnist": ("atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia",
                   "pneumothorax", "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia"),
}  # fmt: skip
CLASSES: dict[str, tuple[str, ...]] = {
    "bloodmnist": ("basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte", "monocyte",
                   "neutrophil", "platelet"),
    "breastmnist": ("malignant", "normal or benign"),
    "dermamnist": ("actinic keratoses", "basal cell carcinoma", "benign keratosis", "dermatofibroma", "melanoma",
                   "melanocytic nevi", "vascular lesions"),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
    "pathmnist": ("adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
                  "cancer-associated stroma", "colorectal adenocarcinoma epithelium"),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": ("grade 0", "grade 1", "grade 2", "grade 3", "grade 4"),
    "tissuemnist": ("collecting duct or connecting tubule", "distal convoluted tubule", "glomerular endothelial cells",
                    "interstitial endothelial cells", "leukocytes", "podocytes", "proximal tubule segments",
                    "thick ascending limb"),
    **FINDINGS,
}  # fmt: skip
URL = "https://zenodo.org/records/10519652/files/{file}?download=1"
# Published md5 of <subset>.npz, <subset>_64.npz, <subset>_128.npz and <subset>_224.npz. A string is empty if the
# published list states the same md5 for two different files.
MD5 = {
    "bloodmnist": ("7053d0359d879ad8a5505303e11de1dc", "2b94928a2ae4916078ca51e05b6b800b",
                   "adace1e0ed228fccda1f39692059dd4c", "b718ff6835fcbdb22ba9eacccd7b2601"),
    "breastmnist": ("750601b1f35ba3300ea97c75c52ff8f6", "742edef2a1fd1524b2efff4bd7ba9364",
                    "363e4b3f8d712e9b5de15470a2aaadf1", "b56378a6eefa9fed602bb16d192d4c8b"),
    "chestmnist": ("02c8a6516a18b556561a56cbdd36c4a8", "9de6cd0b934ebb5b7426cfba5efbae16",
                   "db107e5590b27930b62dbaf558aebee3", "45bd33e6f06c3e8cdb481c74a89152aa"),
    "dermamnist": ("0744692d530f8e62ec473284d019b0c7", "b70a2f5635c6199aeaa28c31d7202e1f",
                   "2defd784463fa5243564e855ed717de1", "8974907d8e169bef5f5b96bc506ae45d"),
    "octmnist": ("c68d92d5b585d8d81f7112f81e2d0842", "e229e9440236b774d9f0dfef9d07bdaf",
                 "0a97e76651ace45c5d943ee3f65b63ae", "abc493b6d529d5de7569faaef2773ba3"),
    "organamnist": ("68e3f8846a6bd62f0c9bf841c0d9eacc", "",
                    "eeae80d0a227a8d099027e1b3cfd3b60", "50747347e05c87dd3aaf92c49f9f3170"),
    "organcmnist": ("b9ceb9546e10131b32923c5bbeaea2b1", "3ce34a8724ea6f548e6db4744d03b6a9",
                    "773c1f009daa3fe5d9a2a201b2a7ed94", "050f5e875dc056f6768abf94ec9995d1"),
    "organsmnist": ("9ab87b696fb54e2a387ebe992d6ed5f1", "",
                    "ded0c5fa01a95dc4978b956f613e9b8e", "b354719e553fbbb2513d5533f52a4cb1"),
    "pathmnist": ("a8b06965200029087d5bd730944a56c1", "55aa9c1e0525abe5a6b9d8343a507616",
                  "ac42d08fb904d92c244187169d1fd1d9", "2c51a510bcdc9cf8ddb2af93af1eadec"),
    "pneumoniamnist": ("28209eda62fecd6e6a2d98b1501bb15f", "8f4eceb4ccffa70c672198ea285246c6",
                       "05b46931834c231683c68f40c47b2971", "d6a3c71de1b945ea11211b03746c1fe1"),
    "retinamnist": ("bd4c0672f1bba3e3a89f0e4e876791e4", "afda852cc34dcda56f86ad2b2457dbcc",
                    "e48e916a24454daf90583d4e6efb1a18", "eae7e3b6f3fcbda4ae613ebdcbe35348"),
    "tissuemnist": ("ebe78ee8b05294063de985d821c1c34b", "123ece2eba09d0aa5d698fda57103344",
                    "61b955355d7425a89687b06cca3ce0c2", "b077128c4a949f0a4eb01517f9037b9c"),
}  # fmt: skip
# Sides of the images in pixels.
SIZES = (28, 64, 128, 224)
_VOLUMES = ("adrenalmnist3d", "fracturemnist3d", "nodulemnist3d", "organmnist3d", "synapsemnist3d", "vesselmnist3d")
# Reason why this source cannot read a set of MedMNIST.
UNSUPPORTED = {
    **dict.fromkeys(_VOLUMES, "its images are volumes, and this source reads images only"),
}
# Published positive class of the sets with two classes.
POSITIVE = {"breastmnist": "malignant", "pneumoniamnist": "pneumonia"}
# Sets whose classes are ordered grades.
ORDINAL = ("retinamnist",)


class Params(DataParams):
    """Data set, image size and download."""

    source: Literal["medmnist"] = "medmnist"
    subset: Literal["bloodmnist", "breastmnist", "chestmnist", "dermamnist", "octmnist", "organamnist", "organcmnist",
                    "organsmnist", "pathmnist", "pneumoniamnist", "retinamnist",
                    "tissuemnist"] = "pneumoniamnist"  # fmt: skip
    size: Literal[28, 64, 128, 224] = Field(28, description="side of the published images, in pixels")
    download: bool = Field(False, description="download the .npz file to root")
    url: str | None = Field(
        None,
        description="address of the .npz file. null: Zenodo, with a check of the published md5",
        examples=["https://HOST/pneumoniamnist.npz"],
    )

    @property
    def multi_label(self) -> str | None:
        """The setting `data.subset=VALUE` if images of the subset can show several findings, otherwise None."""
        return f"data.subset={self.subset}" if self.subset in FINDINGS else None

    @field_validator("subset", mode="before")
    @classmethod
    def _name_the_reason(cls, value: object) -> object:
        if isinstance(value, str) and (reason := UNSUPPORTED.get(value.lower())):
            raise ValueError(f"cannot be used: {reason}. Choose one of: {', '.join(CLASSES)}")
        return value


def classes(params: Params) -> tuple[str, ...]:
    """Return the class names in index order."""
    return CLASSES[params.subset]


def positive_class(params: Params) -> str | None:
    """Return the published positive class of breastmnist and pneumoniamnist, otherwise None."""
    return POSITIVE.get(params.subset)


def metadata(params: Params) -> dict[str, object]:
    """Return further entries of dataset.json: the label type, unless it is nominal."""
    if params.subset in FINDINGS:
        return {"label_type": "multi"}
    return {"label_type": "ordinal"} if params.subset in ORDINAL else {}


def fetch(root: Path, params: Params) -> None:
    """Download the file of the subset to `root`, unless it exists. Check the md5, except for a file of `params.url`."""
    if root.suffix == ".npz" or (root.is_dir() and _candidates(root, params)):
        return
    name = _file_name(params)
    md5 = MD5[params.subset][SIZES.index(params.size)] if params.url is None else ""
    fetch_file(params.url or URL.format(file=name), root / name, md5 or None)


def inputs(root: Path | None, params: Params) -> list[Path]:
    """Return the .npz file."""
    return [_find_file(require_root(root), params)]


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """List the images of the .npz file.

    Args:
        root: the data root: the file, or the folder that contains it.
        params: section `data` of params.yaml.

    Returns:
        One sample per image, with the path `<split>/<row>`, in the order of the file.

    Raises:
        InputError: the file is missing or unsupported, or an array has a wrong shape, type or value.
    """
    file = _find_file(require_root(root), params)
    splits = [split for split in SPLITS if f"{split}_images" in array_names(file)]
    if not splits:
        raise InputError(f"{file}: has no train_images, val_images or test_images. Use a file of MedMNIST")
    if params.split.protocol == "official" and len(splits) < len(SPLITS):
        missing = ", ".join(split for split in SPLITS if split not in splits)
        raise InputError(f"data.split.protocol=official: {file.name} has no {missing} images. Use protocol image")
    samples = []
    _check_supported(file)
    for split in splits:
        rows, labels = RowReader(file, f"{split}_images"), RowReader(file, f"{split}_labels").read_all()
        if rows.dtype != np.uint8 or not (len(rows.shape) == 3 or (len(rows.shape) == 4 and rows.shape[3] == 3)):
            raise InputError(
                f"{file}: {split}_images is {rows.dtype} {rows.shape}; expected uint8 (n, h, w) or (n, h, w, 3). "
                "Use a file of MedMNIST"
            )
        published = (split,) if len(splits) == len(SPLITS) else None
        if params.subset in FINDINGS:
            findings = _findings(labels, rows.shape[0], params.subset, f"{file}: {split}_labels")
            for row, names in enumerate(findings):
                read = partial(_image, rows, row)
                samples.append(Sample(f"{split}/{row:06d}", "", None, {"part": split}, published, read, findings=names))
            continue
        if labels.shape not in ((rows.shape[0], 1), (rows.shape[0],)) or labels.dtype.kind not in "iu":
            raise InputError(
                f"{file}: {split}_labels is {labels.dtype} {labels.shape}; expected ({rows.shape[0]}, 1) integers. "
                "Use a file of MedMNIST"
            )
        for row, label in enumerate(labels.reshape(-1).tolist()):
            if not 0 <= label < len(CLASSES[params.subset]):
                raise InputError(
                    f"{file}: {split}_labels row {row} is {label}, but {params.subset} has no such class. "
                    "Check data.subset"
                )
            name = CLASSES[params.subset][label]
            read = partial(_image, rows, row)
            samples.append(Sample(f"{split}/{row:06d}", name, None, {"part": split}, published, read))
    return samples


def _findings(labels: np.ndarray, n: int, subset: str, what: str) -> list[tuple[str, ...]]:
    """Convert an (n, findings) array of 0 and 1 to the names of the findings per image. `what` is for messages."""
    names = FINDINGS[subset]
    if labels.shape != (n, len(names)) or labels.dtype.kind not in "iub":
        raise InputError(
            f"{what} is {labels.dtype} {labels.shape}; expected ({n}, {len(names)}) integers. Check data.subset"
        )
    if (invalid := np.flatnonzero(~np.isin(labels, (0, 1)).all(1))).size:
        raise InputError(
            f"{what} row {invalid[0]} is {labels[invalid[0]].tolist()}; expected 0 or 1 for each finding. "
            "Check data.subset"
        )
    return [tuple(names[k] for k in np.flatnonzero(row)) for row in labels]


def _check_supported(file: Path) -> None:
    """Reject a file whose name belongs to an unsupported set. `data.root` can be such a file."""
    for name, reason in UNSUPPORTED.items():
        if file.name.lower().startswith(name):
            raise InputError(f"data.root={file}: {name} cannot be used: {reason}. Choose another set of MedMNIST.")


def _image(rows: RowReader, row: int) -> np.ndarray:
    """Return the (h, w, 3) pixels of an image. The three channels of a gray image are equal."""
    pixels = rows.read_row(row)
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def _file_name(params: Params) -> str:
    return f"{params.subset}.npz" if params.size == 28 else f"{params.subset}_{params.size}.npz"


def _candidates(root: Path, params: Params) -> list[Path]:
    """Return the file of the subset and size, or else the files `<subset>*.npz` whose names state no size."""
    exact = root / _file_name(params)
    if exact.is_file():
        return [exact]
    other_sizes = {f"{params.subset}_{size}.npz" for size in SIZES}
    return sorted(path for path in root.glob(f"{params.subset}*.npz") if path.name not in other_sizes)


def _find_file(root: Path, params: Params) -> Path:
    """Return the .npz file. Raise InputError if there is none, or if several files match."""
    if root.is_file():
        return root
    candidates = _candidates(root, params)
    if len(candidates) != 1:
        names = ", ".join(path.name for path in candidates) or "none"
        raise InputError(
            f"data.root={root}: expected one file {_file_name(params)} (or {params.subset}*.npz), found {names}. "
            "Set data.download=true to download it"
        )
    return candidates[0]


def example(root: Path) -> dict[str, object]:
    """Write a tiny data set in this layout to `root` and return the params that read it."""
    images = np.random.default_rng(0).integers(0, 256, (12, 28, 28), np.uint8)
    labels = np.arange(12)[:, None] % 2
    arrays = {f"{split}_{name}": array for split in ("train", "val", "test")
              for name, array in (("images", images), ("labels", labels))}  # fmt: skip
    np.savez(root / "pneumoniamnist.npz", allow_pickle=False, **arrays)
    return {"split": {"protocol": "official"}}
