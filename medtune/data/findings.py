"""Images with several findings each: names of the findings, targets, and labels by which splits are stratified."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from medtune.config.errors import InputError
from medtune.data.class_selection import list_names
from medtune.data.sample import Sample

SEPARATOR = "|"
NO_FINDING = "No Finding"


def join_findings(findings: Sequence[str], no_finding: str) -> str:
    """Return the label of an image: its findings separated by `|`, or `no_finding` if it has none."""
    return SEPARATOR.join(findings) or no_finding


def all_labels(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Return the different labels of the samples, sorted."""
    return tuple(sorted({label for sample in samples for label in sample.labels}))


def rename_labels(sample: Sample, names: Mapping[str, str]) -> Sample:
    """Rename the labels of a sample. Two findings with the same new name become one."""
    if sample.findings is None:
        return replace(sample, label=names.get(sample.label, sample.label))
    return replace(sample, findings=tuple(dict.fromkeys(names.get(name, name) for name in sample.findings)))


def check_names(findings: Sequence[str], no_finding: str) -> None:
    """Reject names of findings that cannot be written to a table.

    Args:
        findings: names of the findings.
        no_finding: label of an image without findings.

    Raises:
        InputError: a name contains `|` or equals `no_finding`.
    """
    for name in findings:
        if SEPARATOR in name:
            raise InputError(f"finding {name!r} contains {SEPARATOR}, which separates findings. Rename it")
        if name.casefold() == no_finding.casefold():
            raise InputError(f"finding {name!r} is the label of images without findings. Rename or remove it")


def check_counts(labels: np.ndarray, findings: Sequence[str]) -> None:
    """Reject findings that cannot be learned.

    Args:
        labels: (n, findings + 1) bool, from `encode_labels`.
        findings: names of the findings.

    Raises:
        InputError: a finding is present in no image or in every image.
    """
    counts = labels.sum(0)
    if absent := [name for name, count in zip(findings, counts, strict=False) if not count]:
        raise InputError(f"no image has the finding {list_names(absent)}. Remove it, or add images that show it")
    if constant := [name for name, count in zip(findings, counts, strict=False) if count == len(labels)]:
        raise InputError(f"every image has the finding {list_names(constant)}. Remove it, or add images without it")


def add_targets(samples: Sequence[Sample], findings: Sequence[str], no_finding: str) -> list[Sample]:
    """Set the label and the target of each sample.

    Args:
        samples: samples with findings.
        findings: names of the findings, in index order.
        no_finding: label of an image without findings.

    Returns:
        The samples. `label` lists the findings in index order. `target` is a function that returns (findings,) uint8,
        1 for findings that are present and 0 for the others.
    """
    index = {name: k for k, name in enumerate(findings)}
    labeled = []
    for sample in samples:
        present = tuple(sorted(index[name] for name in sample.labels))
        names = tuple(findings[k] for k in present)
        target = partial(_target, len(findings), present)
        labeled.append(replace(sample, label=join_findings(names, no_finding), findings=names, target=target))
    return labeled


def _target(n_findings: int, present: tuple[int, ...]) -> np.ndarray:
    target = np.zeros(n_findings, np.uint8)
    target[list(present)] = 1
    return target


def encode_labels(samples: Sequence[Sample], classes: Sequence[str]) -> np.ndarray:
    """Encode the labels by which the splits are stratified.

    Args:
        samples: images with one class each, or with findings.
        classes: names of the classes or of the findings.

    Returns:
        (n,) int64 class indices. For findings, (n, findings + 1) bool. The last column is True for images without
        findings.
    """
    index = {name: k for k, name in enumerate(classes)}
    if not samples or samples[0].findings is None:
        return np.array([index[sample.label] for sample in samples], np.int64)
    encoded = np.zeros((len(samples), len(classes) + 1), bool)
    for row, sample in enumerate(samples):
        encoded[row, [index[name] for name in sample.labels] or [len(classes)]] = True
    return encoded


def display_groups(samples: Sequence[Sample], classes: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Group images for display by their class or their rarest finding.

    Args:
        samples: images with one class each, or with findings.
        classes: names of the classes or of the findings.

    Returns:
        Names of the groups, and (n,) the index of the group of each image.
    """
    labels = encode_labels(samples, classes)
    if labels.ndim == 1:
        return tuple(classes), labels
    none = next((sample.label for sample in samples if not sample.labels), NO_FINDING)
    present, indices = np.unique(rarest_finding(labels[:, : len(classes)]), return_inverse=True)
    return tuple([*classes, none][k] for k in present), indices


def rarest_finding(targets: np.ndarray) -> np.ndarray:
    """Find the rarest finding of each image.

    Args:
        targets: (n, findings) 1 if the image shows the finding, otherwise 0.

    Returns:
        (n,) int64 index of the rarest finding. For images without findings, the number of findings.
    """
    targets = np.asarray(targets, bool)
    order = np.argsort(targets.sum(0), kind="stable")
    sorted_by_rarity = np.column_stack([targets[:, order], np.ones(len(targets), bool)])
    rarest: np.ndarray = np.append(order, targets.shape[1])[sorted_by_rarity.argmax(1)].astype(np.int64)
    return rarest
