"""Several findings per image: their names, their targets, and what splits balance."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from medtune.config.errors import InputError
from medtune.data.class_selection import list_names
from medtune.data.sample import Sample

SEPARATOR = "|"
NO_FINDING = "No Finding"


def joined(findings: Sequence[str], no_finding: str) -> str:
    """The label of an image in tables: its findings separated by `|`, or the name of an image without any."""
    return SEPARATOR.join(findings) or no_finding


def named(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Every label of the samples once, sorted."""
    return tuple(sorted({label for sample in samples for label in sample.labels}))


def renamed(sample: Sample, names: Mapping[str, str]) -> Sample:
    """The sample with its labels renamed; two findings with the same new name become one."""
    if sample.findings is None:
        return replace(sample, label=names.get(sample.label, sample.label))
    return replace(sample, findings=tuple(dict.fromkeys(names.get(name, name) for name in sample.findings)))


def check(findings: Sequence[str], no_finding: str) -> None:
    """Refuse findings that cannot be told apart or written down.

    Args:
        findings: their names.
        no_finding: name of an image without any.

    Raises:
        InputError: a name has a `|` in it or is the name of no finding.
    """
    for name in findings:
        if SEPARATOR in name:
            raise InputError(f"finding {name!r} has a {SEPARATOR} in its name, which separates findings. Rename it")
        if name.casefold() == no_finding.casefold():
            raise InputError(f"finding {name!r} has the name of an image without findings. Rename or remove it")


def check_counts(labels: np.ndarray, findings: Sequence[str]) -> None:
    """Refuse findings that cannot be learned.

    Args:
        labels: (n, findings + 1) as `members` gives them.
        findings: their names.

    Raises:
        InputError: a finding is in no image or in every one.
    """
    counts = labels.sum(0)
    if absent := [name for name, count in zip(findings, counts, strict=False) if not count]:
        raise InputError(f"no image has the finding {list_names(absent)}. Remove it, or add images that show it")
    if constant := [name for name, count in zip(findings, counts, strict=False) if count == len(labels)]:
        raise InputError(f"every image has the finding {list_names(constant)}. Remove it, or add images without it")


def with_targets(samples: Sequence[Sample], findings: Sequence[str], no_finding: str) -> list[Sample]:
    """The samples with `label` listing their findings in order, and `target` giving (findings,) uint8 of 0 and 1."""
    index = {name: k for k, name in enumerate(findings)}
    found = []
    for sample in samples:
        present = tuple(sorted(index[name] for name in sample.labels))
        names = tuple(findings[k] for k in present)
        target = partial(_target, len(findings), present)
        found.append(replace(sample, label=joined(names, no_finding), findings=names, target=target))
    return found


def _target(n_findings: int, present: tuple[int, ...]) -> np.ndarray:
    target = np.zeros(n_findings, np.uint8)
    target[list(present)] = 1
    return target


def members(samples: Sequence[Sample], classes: Sequence[str]) -> np.ndarray:
    """What splits balance.

    Args:
        samples: images with one class each, or with findings.
        classes: class names, or findings.

    Returns:
        (n,) int64 class indices; of several findings (n, findings + 1) bool: the findings of each image, and in the
        last column whether it has none.
    """
    index = {name: k for k, name in enumerate(classes)}
    if not samples or samples[0].findings is None:
        return np.array([index[sample.label] for sample in samples], np.int64)
    found = np.zeros((len(samples), len(classes) + 1), bool)
    for row, sample in enumerate(samples):
        found[row, [index[name] for name in sample.labels] or [len(classes)]] = True
    return found


def groups(samples: Sequence[Sample], classes: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the groups that sample images are shown by, and each image's group (n,): class, or rarest finding."""
    found = members(samples, classes)
    if found.ndim == 1:
        return tuple(classes), found
    none = next((sample.label for sample in samples if not sample.labels), NO_FINDING)
    present, indices = np.unique(rarest(found[:, : len(classes)]), return_inverse=True)
    return tuple([*classes, none][k] for k in present), indices


def rarest(targets: np.ndarray) -> np.ndarray:
    """(n,) int64 index of each image's rarest finding, or the number of findings where it has none.

    Args:
        targets: (n, findings) 1 where the image shows the finding.
    """
    targets = np.asarray(targets, bool)
    order = np.argsort(targets.sum(0), kind="stable")
    sorted_by_rarity = np.column_stack([targets[:, order], np.ones(len(targets), bool)])
    return np.append(order, targets.shape[1])[sorted_by_rarity.argmax(1)].astype(np.int64)
