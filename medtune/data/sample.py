"""Samples, and the interface of a data source.

A source is one file `medtune/data/sources/<name>.py`. Its name is the value of `data.source`. The file must define:

    NAME: str                    name of the data set, for the model card
    LICENSE: str                 license of the images
    CITATION: str                publication to cite
    KNOWN_ISSUES: tuple[str, ...] known errors in labels or patients, for the model card
    class Params(DataParams)     `source: Literal["<name>"] = "<name>"` and the parameters of the source

    def classes(params) -> tuple[str, ...]
        Class names in index order. If the tuple is empty, the labels of `list_samples`, sorted by name, are used.

    def list_samples(root: Path | None, params) -> list[Sample]
        All images, in an order that depends only on the data set, for example sorted by path. `root` is the absolute
        `params.root`, or None if `params.root` is null. A source that needs a root begins with
        `root = listing.require_root(root)`. The function reads names and tables but does not decode images. It raises
        InputError if there are no usable images, or if a label is missing or unknown.

The file may define:

    def fetch(root: Path, params) -> None
        Download the data set to `root`, unless it is complete. If `params.download` is true, this function is called
        before the others.

    def inputs(root: Path | None, params) -> list[Path]
        Files that affect the samples but are not image files, for example a table or an array file.

    def expected(params) -> dict[str, int] | None
        Images per class in the complete published set. MedTune reports which fraction of them is present.

    def example(root: Path) -> dict[str, object]
        Write a tiny data set in the layout of the source to `root`, and return the params that read it. The contract
        tests use this data set. A source that draws its images can do without this function.

    def positive_class(params) -> str | None
        Positive class of a set with two classes, as published; `data.positive` overrides it. Without this function,
        or if it returns None, the user must set `data.positive`.

    def metadata(params) -> dict[str, object]
        Further entries of dataset.json.

    def cut(samples, root, params) -> medtune.data.slide_tiles.SlideTiles
        Tiles of samples that are whole-slide images. The tiles replace the samples. Their patients, labels and splits
        are those of the slides. MedTune calls this function after all checks that do not need pixels.

A source of volumes sets `volume` of each sample, and derives its `Params` from
`medtune.data.volume_params.VolumeParams`. `classes` then returns the names of the labels 1, 2, ... of the masks.
The splits are stratified by `label` of a sample, which can be any property, or
`medtune.data.volume_files.NO_STRATUM` for none. The file must also define:

    def channels(params) -> tuple[str, ...]
        Names of the channels in order, for example ("T1", "T2"). Empty if the source needs a root and has none.

tests/contracts/test_sources.py checks the contract. Paths are relative, posix and unique. Labels of images are class
names. Patients are all None or all non-empty. `metadata` has the same keys in every sample. Two calls return equal
lists. Neither importing nor calling the source imports torch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medtune.data.volume_files import VolumeFiles

# Values of `Sample.published_splits`. `external` images are tested separately and do not affect model selection.
SPLITS = ("train", "val", "test", "external", "unused")


@dataclass(frozen=True)
class Sample:
    """One image before decoding.

    Attributes:
        path: posix path relative to the root of the source; a unique name if the pixels are not in a file.
        label: class name, by which the splits are stratified. For several findings, the result of
            `medtune.data.findings.join_findings`. A task without classes needs another value to stratify by.
        patient_id: patient or case, whose images stay in one split; None if unknown.
        metadata: further columns of manifest.csv.
        published_splits: split in each published fold (values of `SPLITS`), for protocols `official`, `folders` and
            `column`.
        read: function that returns the (h, w, 3) uint8 pixels if they are not in an image file. MedTune calls it in
            the order of the samples, so that it can read an array file sequentially.
        file: image file, if it is not `root / path`, for example in an unpacked archive.
        target: function that returns the target of a task other than classification (a mask, a number). The `targets`
            module of the task defines the format of the target.
        frame: frame of a multi-frame DICOM file, starting at 0; None for other files.
        where: location of the label, such as "labels.csv line 7", for error messages; empty if the path is enough.
        site: hospital or site, for protocol `site`; None if unknown.
        findings: findings that the image shows, in any order; None if the image has one class.
        volume: volume and mask instead of an image; None for an image.
    """

    path: str
    label: str
    patient_id: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    published_splits: tuple[str, ...] | None = None
    read: Callable[[], np.ndarray] | None = field(default=None, compare=False)
    file: Path | None = field(default=None, compare=False)
    target: Callable[[], np.ndarray] | None = field(default=None, compare=False)
    frame: int | None = None
    where: str = field(default="", compare=False)
    site: str | None = None
    findings: tuple[str, ...] | None = None
    volume: VolumeFiles | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The findings, or a tuple that contains only the class."""
        return (self.label,) if self.findings is None else self.findings
