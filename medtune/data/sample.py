"""What a data source hands over, and what a source file must define.

A source is one file `medtune/data/sources/<name>.py`; the registry key is the file's name. It defines, at module level:

    NAME: str                    name of the data set, for the model card
    LICENSE: str                 licence of the images
    CITATION: str                how to cite them
    KNOWN_ISSUES: tuple[str, ...] what is known to be wrong with labels or groups; printed in the model card
    class Params(DataParams)     `source: Literal["<name>"] = "<name>"` and the source's own keys; `root` is shared

    def classes(params) -> tuple[str, ...]
        Class names in index order. Empty where only the files can tell: then `list_samples` decides, sorted by name.

    def list_samples(root: Path | None, params) -> list[Sample]
        Every image, in an order that depends on content only (sorted by path). `root` is `params.root` made absolute
        (None where the params name none); a source that needs it begins with `root = listing.require(root)`. Reads
        names and tables, never decodes a picture. Raises InputError where nothing usable lies under `root`, or a
        label is missing or unknown.

and may define

    def fetch(root: Path, params) -> None
        Downloads into `root`; called first, where `params.download` is true. Does nothing where all is there.

    def inputs(root: Path | None, params) -> list[Path]
        Files other than the records' own whose change makes the source another one (the array file behind `read`).

    def expected(params) -> dict[str, int] | None
        Images per class in the complete published set, to say what share of it is here.

    def example(root: Path) -> dict[str, object]
        Writes a tiny data set in the source's layout to `root` and returns the params that read it, for the contract
        tests. A source that draws its own images needs none.

    def positive_class(params) -> str | None
        The positive class of a set with two classes, where its publication says so; `data.positive` overrides it.
        None, or no such function: the user must name it.

    def metadata(params) -> dict[str, object]
        What else belongs into dataset.json.

    def cut(samples, root, params) -> medtune.data.slide_tiles.SlideTiles
        Where a record is a whole-slide image: its tiles, which are then the images. Patients, labels and splits are
        those of the slides. Called once everything but the pixels is checked.

Contract, held by tests/contracts/test_sources.py: paths are relative, posix, unique; labels are class names; groups
are all None or all non-empty; `extra` has the same keys in every record; two calls give equal lists; importing and
calling it imports no torch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

SPLITS = ("train", "val", "test", "external", "unused")


@dataclass(frozen=True)
class Sample:
    """One image before decoding.

    Attributes:
        path: relative to the source's root, posix; a made-up unique name where pixels are not files.
        label: class name; in a task without classes what splits balance, the same for all where there is nothing; of
            several findings all of them, `medtune.data.findings.joined`.
        patient_id: what must stay together in one split (patient, case); None where the source does not know.
        metadata: the source's own columns of manifest.csv.
        published_splits: role in the chain of each published fold (one of `SPLITS` each), for protocols
            `official`, `folders` and `column`.
        read: gives the pixels, uint8 (h, w, 3), where they are not a file; called in the order of the records.
        where: the place that names it ("labels.csv line 7"), for error messages; empty where that is the path.
        target: returns what a task other than classification predicts (a mask, a number), as its `targets` reads it.
        file: where the image file lies, where that is not `root / path` (unpacked archives).
        site: where the image was made, for protocol site; None where the source does not know.
        frame: frame of a DICOM file of several frames, from 0.
        findings: which of several findings the image shows, in any order; None where it has one class.
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

    @property
    def labels(self) -> tuple[str, ...]:
        """Its findings, or its one class."""
        return (self.label,) if self.findings is None else self.findings
