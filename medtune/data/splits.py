"""Assignment of images to train, validation and test in each fold, by a protocol (docs/protocols.md)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medtune.config.data import SplitParams
from medtune.config.errors import InputError
from medtune.data.class_selection import list_names
from medtune.data.findings import check_counts, encode_labels
from medtune.data.fold_assignments import FoldAssignments
from medtune.data.sample import Sample
from medtune.data.sites import order_sites
from medtune.data.split_checks import SPLITS, check_classes
from medtune.data.split_protocols import hcrf_split, published_split, split_by_image, split_by_patient, split_by_site

_SHOWN = 5
_FIX_CLASS_NAMES = ", or correct data.class_names"
_CLASS_NAMES_HINT = {"folder": _FIX_CLASS_NAMES, "slides": _FIX_CLASS_NAMES}


@dataclass(frozen=True)
class SplitResult:
    """Splits of a data set.

    Attributes:
        folds: (n,) int64 fold whose test split contains the image. With published splits, -1 if there is no such fold
            or several.
        splits: (n, folds) of train, val, test, external, unused. Column k is the split with test fold k.
        leaked_patients: sorted patients with images in several splits of a trained fold.
        notes: warnings for readers of the metrics, one sentence each.
        sites: site of each test fold for protocol `site`; empty for other protocols.
    """

    folds: np.ndarray
    splits: np.ndarray
    leaked_patients: tuple[str, ...]
    notes: tuple[str, ...]
    sites: tuple[str, ...] = ()


def split_samples(
    samples: Sequence[Sample],
    classes: Sequence[str],
    params: SplitParams,
    source: str,
    assigned: FoldAssignments | None = None,
    min_classes: int = 2,
) -> SplitResult:
    """Split the samples by `params.protocol` and check the result.

    Args:
        samples: all images, in the order of the source.
        classes: class names in index order.
        params: section `data.split` of params.yaml.
        source: name of the source, for error messages.
        assigned: recorded folds of the patients, which protocol `patient` keeps; None: no patient has a fold yet.
        min_classes: minimum number of classes, in total and in each training split.

    Returns:
        The splits.

    Raises:
        InputError: the source lacks information that the protocol needs, a class has no images, there are too few
            patients or images, or a class is absent from a split and `allow_missing_classes` is false.
    """
    labels = encode_labels(samples, classes)
    if labels.ndim > 1:
        check_counts(labels, classes)
    counts = np.bincount(labels, minlength=len(classes)) if labels.ndim == 1 else labels[:, : len(classes)].sum(0)
    if empty := [name for name, count in zip(classes, counts, strict=True) if not count]:
        raise InputError(
            f"data.source={source}: no image has class {list_names(empty)} (images per class: "
            f"{_class_counts(classes, counts)}). Add images{_CLASS_NAMES_HINT.get(source, '')}"
        )
    if len(classes) < min_classes:
        raise InputError(
            f"data.source={source}: all images have class {classes[0]}. Add images of a second class{_inside(samples)}"
        )
    sites: list[str] = []
    if params.protocol == "site":
        sites = order_sites(samples, params, source)
        folds, splits, notes = split_by_site(samples, labels, sites, source)
    elif params.protocol == "patient":
        folds, splits, notes = split_by_patient(samples, labels, params, source, assigned)
    else:
        protocol = {"image": split_by_image, "hcrf-1-1-2": hcrf_split}.get(params.protocol, published_split)
        folds, splits, notes = protocol(samples, labels, params, source)
    patient_ids = np.array([sample.patient_id or "" for sample in samples])
    notes += check_classes(splits, labels, patient_ids, classes, params, source, min_classes)
    leaked = _leaked_patients(splits, patient_ids, params.trained_folds)
    if leaked:
        notes.append(
            f"LEAK: {len(leaked)} of {len(set(patient_ids))} patients have images in more than one of train, "
            f"validation and test (protocol {params.protocol}): the scores do not estimate the performance on new "
            "patients."
        )
    if samples[0].patient_id is None:
        notes.append("The source has no patient ids: a patient may be in both train and test.")
    return SplitResult(folds, splits, leaked, tuple(notes), tuple(sites))


def _inside(samples: Sequence[Sample]) -> str:
    """Return a hint if the class folders are one level deeper, otherwise an empty string."""
    folders = {tuple(sample.path.split("/")[:2]) for sample in samples if sample.path.count("/") > 1}
    if len({top for top, _ in folders}) != 1 or len(folders) < 2:
        return ""
    names = ", ".join(sorted(name for _, name in folders)[:_SHOWN])
    top = min(folders)[0]
    return f". If the folders in {top} ({names}) are the classes, set data.root to the folder {top}"


def _leaked_patients(splits: np.ndarray, patient_ids: np.ndarray, test_folds: Sequence[int]) -> tuple[str, ...]:
    """Return the sorted patients with images in several of train, val and test of a fold."""
    leaked: set[str] = set()
    for fold in test_folds:
        train, val, test = (set(patient_ids[splits[:, fold] == split]) for split in SPLITS)
        leaked |= (train & val) | (train & test) | (val & test)
    return tuple(sorted(leaked - {""}))


def _class_counts(classes: Sequence[str], counts: np.ndarray) -> str:
    return list_names([f"{name} {count}" for name, count in zip(classes, counts, strict=True)])
