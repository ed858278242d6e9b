"""Preparation of external images: labeled images on which an exported model (bundle) is evaluated."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.data import DataParams
from medtune.config.errors import InputError, pluralize, set_option
from medtune.data import manifest_writing
from medtune.data.class_selection import list_names
from medtune.data.external import ExternalListing, external_dataset
from medtune.data.findings import encode_labels, rarest_finding
from medtune.data.identifiers import is_missing, label_key
from medtune.data.listing import scan_root
from medtune.data.manifest import PreparedDataset
from medtune.data.packing import IMAGES_FILE, pack
from medtune.data.sample import Sample
from medtune.data.source_listing import list_source
from medtune.serving.intensity import Intensity

_SHOWN = 5


def list_images(params: DataParams, classes: Sequence[str], positive: str | None = None) -> ExternalListing:
    """List the images and check their patients and labels, as the stage `data` does.

    Args:
        params: section `data` of params.yaml.
        classes: classes of the bundle, in index order.
        positive: positive class of the bundle; None if there is none.

    Returns:
        The images.

    Raises:
        InputError: see `medtune.data.source_listing.list_source`; or a label is not a class of the bundle, a finding
            of the bundle has no column, the positive class differs, or the table has a column split.
    """
    if params.positive not in (None, positive):
        raise InputError(
            f"data.positive={params.positive}: the bundle's positive class is {positive}. Remove this key."
        )
    _check_findings(params, classes)
    listed = list_source(_with_known_labels(params, classes), has_positive=False)
    samples = listed.samples
    if params.root is not None and getattr(params, "csv", None) is None:
        _check_depth(samples, classes, Path(params.root))
    _check_labels(samples, classes)
    return ExternalListing.from_source(listed, classes, getattr(params, "csv", None), positive)


def _check_findings(params: DataParams, classes: Sequence[str]) -> None:
    """Reject a table without a column for each finding of the bundle. A finding without a column is unknown."""
    columns = getattr(params, "columns", None)
    if columns is None or columns.labels is None:
        return
    label_map = getattr(params, "label_map", {})
    named = {label_map.get(name, name) for name in columns.labels}
    if missing := [name for name in classes if name not in named]:
        raise InputError(
            f"data.columns.labels={list_names(columns.labels, _SHOWN)}: the bundle also predicts "
            f"{list_names(missing, _SHOWN)}, and a finding without a column is unknown, not absent. Add a column of 0 "
            "and 1 for each of them"
        )


def _with_known_labels(params: DataParams, classes: Sequence[str]) -> DataParams:
    """Return params with which `list_source` accepts every label. `_check_labels` reports all unknown labels later."""
    changes: dict[str, Any] = {
        "positive": None,  # the bundle determines the positive class and the order of the classes
        "allow_values": [*params.allow_values, *(name for name in classes if is_missing(name))],
    }
    if params.multi_label:
        return params.model_copy(update={**changes, "class_names": list(classes)})
    if getattr(params, "csv", None) is None and params.root is not None:
        folders = {Path(path).parts[0] for path in scan_root(Path(params.root)).images if "/" in path}
        changes["class_names"] = [*classes, *sorted(folders - set(classes))]
    return params.model_copy(update=changes)


def _check_depth(samples: Sequence[Sample], classes: Sequence[str], root: Path) -> None:
    """Reject class folders that are one level deeper, inside split folders or a single folder."""
    keys = {label_key(name) for name in classes}
    tops = {Path(sample.path).parts[0] for sample in samples}
    inner = [parts for sample in samples if len(parts := Path(sample.path).parts) > 2 and label_key(parts[1]) in keys]
    if inner and not any(label_key(top) in keys for top in tops):
        outer = list_names(sorted({parts[0] for parts in inner}), _SHOWN)
        raise InputError(
            f"--data={root}: the class folders are one level deeper, in {outer}. Use one of these folders: "
            f"--data {shlex.quote(str(root / inner[0][0]))}"
        )


def _check_labels(samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Reject labels that are not classes of the bundle, and propose a `data.label_map`."""
    counts = Counter(label for sample in samples for label in sample.labels)
    unknown = [label for label in sorted(counts) if label not in classes]
    if not unknown:
        return
    meant = {label: [name for name in classes if label_key(name) == label_key(label)] for label in unknown}
    likely = {label: names[0] if len(names) == 1 else "CLASS" for label, names in meant.items()}
    shown = list_names([f"{label} ({pluralize(counts[label], 'image')})" for label in unknown], _SHOWN)
    fix = set_option("data.label_map", dict(list(likely.items())[:_SHOWN]))
    raise InputError(
        f"labels {shown} are not classes of the bundle ({list_names(classes, _SHOWN)}). Map them to classes with "
        f"{fix}, or remove these images."
    )


def prepare_external_images(
    listing: ExternalListing,
    params: DataParams,
    intensity: Intensity,
    folder: Path,
    name: str,
    targets: Any,
) -> PreparedDataset:
    """Decode the images in the same way as `medtune predict` does, and return them as one test set.

    Args:
        listing: result of `list_images`.
        params: section `data` of params.yaml.
        intensity: intensity range of the bundle.
        folder: existing folder for the pixels, which must exist as long as the set is in use.
        name: name of the data, for the report.
        targets: targets module of the task (`medtune.tasks.base.Targets`).

    Returns:
        A prepared set in which all images are test images of fold 0.

    Raises:
        InputError: images cannot be used, or do not fit the intensity range of the bundle.
    """
    listed, samples, classes = listing.listed, listing.listed.samples, listing.classes
    targets.check(samples)
    packed = pack(samples, listed.root, folder, params.image_size, params.resize, params.on_bad_image, intensity)
    selected = [samples[index] for index in packed.selected]
    manifest_writing.write_targets(folder, (targets.encode(sample, params) for sample in selected), len(selected))
    encoded = encode_labels(selected, classes)
    return external_dataset(
        listing,
        params,
        folder,
        name,
        selected,
        packed.rejected,
        packed.notes,
        entries=listed.source.metadata(params) if hasattr(listed.source, "metadata") else {},
        labels=encoded if encoded.ndim == 1 else rarest_finding(encoded[:, : len(classes)]),
        images=np.lib.format.open_memmap(folder / IMAGES_FILE, mode="r"),
        sha256=packed.sha256,
    )
