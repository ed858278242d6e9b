"""Listing of a source's images, with all checks that do not need decoding."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from medtune.config import registry
from medtune.config.data import DataParams
from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.data import findings
from medtune.data.dicom_samples import add_dicom_headers, hide_patients
from medtune.data.left_out import LeftOut, count_left_out
from medtune.data.listing import index_hash
from medtune.data.positive import KEY, find_positive, order_classes
from medtune.data.sample import Sample
from medtune.data.sample_checks import check_samples


@dataclass(frozen=True)
class SourceListing:
    """Images of a source.

    Attributes:
        source: module of the source.
        root: absolute data root; None if there is none.
        samples: images to decode.
        classes: class names in index order, with the positive class last.
        positive: positive class of a set with two classes; None if there is none.
        split_classes: class names by which the splits are stratified. Their order does not depend on the positive
            class, so that it does not affect the splits. For volumes, the values of `Sample.label`.
        rejected: (path, reason) of each image of the source that was left out.
        left_out: files under the data root that the source does not use.
        notes: changes of the samples, one sentence each.
        hash: digest that changes if a sample, its file or the list of unused files changes.
    """

    source: ModuleType
    root: Path | None
    samples: list[Sample]
    classes: tuple[str, ...]
    positive: str | None
    split_classes: tuple[str, ...]
    rejected: tuple[tuple[str, str], ...]
    left_out: LeftOut
    notes: tuple[str, ...]
    hash: str


def list_source(params: DataParams, has_positive: bool) -> SourceListing:
    """List and check the images of a source, without importing torch and without decoding.

    Args:
        params: section `data` of params.yaml.
        has_positive: True if the task needs a positive class for two classes (`Targets.HAS_POSITIVE`).

    Returns:
        The images.

    Raises:
        InputError: files, table, labels, patients or the positive class are missing or invalid.
    """
    source = registry.load_plugin("medtune.data.sources", params.source, "data.source")
    root = (PROJECT / params.root).resolve() if params.root else None
    if getattr(params, "download", False):
        if root is None:
            raise InputError(
                "data.root=null: data.download=true needs a folder. Set data.root to the folder for the download"
            )
        source.fetch(root, params)
    with_headers = add_dicom_headers(source.list_samples(root, params), root, params.frames)
    listed = with_headers.samples
    inputs = source.inputs(root, params) if hasattr(source, "inputs") else []
    table = getattr(params, "csv", None) or ""
    left_out = count_left_out(listed, root, inputs, table, by_split=params.split.protocol == "folders")
    named = tuple(source.classes(params))
    hidden = with_headers.from_headers
    checked = check_samples(listed, params, () if params.has_volumes else named, name_patients=not hidden)
    samples = hide_patients(checked.samples) if hidden else checked.samples
    classes = named or findings.all_labels(checked.samples)
    if not has_positive and params.positive is not None:
        raise InputError(f"{KEY}={params.positive}: this task has no positive class. Remove this key.")
    positive = find_positive(classes, params, source) if has_positive else None
    if samples and samples[0].findings is not None:
        no_finding = getattr(params, "no_finding", findings.NO_FINDING)
        findings.check_names(classes, no_finding)
        samples = findings.add_targets(samples, classes, no_finding)
    notes = (*with_headers.notes, *checked.notes)
    unused = [left_out.files] if left_out.files else []
    rejected = [list(checked.rejected)] if checked.rejected else []
    listing = index_hash(samples, root, inputs, [*unused, *rejected])
    ordered = order_classes(classes, positive)
    # The labels of masks are not known before the volumes are read, so volumes are split by another property.
    strata = findings.all_labels(samples) if params.has_volumes else classes
    return SourceListing(source, root, samples, ordered, positive, strata, checked.rejected, left_out, notes, listing)
