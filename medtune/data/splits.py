"""Which image is train, validation or test in which chain, by a named protocol (docs/protocols.md)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medtune.config.errors import InputError
from medtune.config.schema import SplitParams
from medtune.data.fold_assignments import KeptFolds
from medtune.data.folds import SEED, deal_groups
from medtune.data.sample import Record

PARTS = ("train", "val", "test")
_SHOWN = 5


@dataclass(frozen=True)
class Split:
    """A protocol carried out.

    Attributes:
        folds: (n,) int64, the fold an image belongs to; under `official` the one fold that tests it, else -1.
        roles: (n, chains) of train, val, test, unused; column k is the chain whose test fold is k.
        leaked: groups with images in more than one part of a chain that is run, sorted.
        notes: what a reader of the figures must know, sentences.
    """

    folds: np.ndarray
    roles: np.ndarray
    leaked: tuple[str, ...]
    notes: tuple[str, ...]


def split(
    records: Sequence[Record],
    classes: Sequence[str],
    params: SplitParams,
    source: str,
    kept: KeptFolds | None = None,
    min_classes: int = 2,
) -> Split:
    """The split of `records` by `params.protocol`, checked.

    Args:
        records: all images, in the source's order.
        classes: class names in index order.
        params: section data.split.
        source: the source's name, for error messages.
        kept: folds of an earlier deal, which protocol patient keeps.
        min_classes: fewest labels that the task needs in all and in each training split.

    Raises:
        InputError: the source lacks what the protocol needs, an empty class, too few groups or images, or a class
            that a part of a chain lacks (unless `absent_classes` is `allow`).
    """
    index = {name: number for number, name in enumerate(classes)}
    labels = np.array([index[record.label] for record in records], np.int64)
    counts = np.bincount(labels, minlength=len(classes))
    if empty := [name for name, count in zip(classes, counts, strict=True) if not count]:
        raise InputError(f"no images of class {', '.join(empty)} in source {source}; found {_say(classes, counts)}")
    if len(classes) < min_classes:
        raise InputError(f"source {source} has one class, {classes[0]}; at least two are needed")
    if params.protocol == "patient":
        folds, roles, notes = _patient(records, labels, params, source, kept)
    else:
        deal = {"image": _image, "official": _official, "hcrf-1-1-2": _hcrf}[params.protocol]
        folds, roles, notes = deal(records, labels, params, source)
    groups = np.array([record.group or "" for record in records])
    notes += _check_parts(roles, labels, groups, classes, params, min_classes)
    leaked = _leaked(roles, groups, params.chains)
    if leaked:
        notes.append(
            f"LEAK: {len(leaked)} of {len(set(groups))} groups have images in more than one of train, validation and "
            f"test (protocol {params.protocol}): scores say little about new patients."
        )
    if records[0].group is None:
        notes.append("The source has no patient ids: that one patient is in both train and test cannot be excluded.")
    return Split(folds, roles, leaked, tuple(notes))


def roles_of(folds: np.ndarray, params: SplitParams) -> np.ndarray:
    """(n, folds) roles where chain k tests fold k, validates on one other, and trains on the rest."""
    roles = np.full((len(folds), params.folds), "train", "<U6")
    for chain in range(params.folds):
        val = params.val_of(chain)
        roles[folds == ((chain - 1) % params.folds if val == chain else val), chain] = "val"
        roles[folds == chain, chain] = "test"
    return roles


_Dealt = tuple[np.ndarray, np.ndarray, list[str]]


GROUP_COLUMN = {"folder": "give data.csv a column group with each image's patient, or set data.group_pattern, "}


def _patient(
    records: Sequence[Record], labels: np.ndarray, params: SplitParams, source: str, kept: KeptFolds | None
) -> _Dealt:
    if any(record.group is None for record in records):
        others = "image or official" if records[0].roles else "image"
        better = GROUP_COLUMN.get(source, "")
        raise InputError(
            f"data.split.protocol is patient, but no patients are named (source {source}): {better}"
            f"or set it to {others}, knowing that patients may then be in both train and test"
        )
    groups = np.array([record.group for record in records])
    if (found := len(np.unique(groups))) < params.folds:
        raise InputError(f"data.split.folds is {params.folds}, but source {source} has only {found} patients (groups)")
    folds = deal_groups(labels, groups, params.folds, kept.of(groups.tolist()) if kept else None)
    return folds, roles_of(folds, params), []


def _image(records: Sequence[Record], labels: np.ndarray, params: SplitParams, source: str) -> _Dealt:
    folds = _stratified(labels, params.folds, source)
    return folds, roles_of(folds, params), []


def _hcrf(records: Sequence[Record], labels: np.ndarray, params: SplitParams, source: str) -> _Dealt:
    folds = _stratified(labels, params.folds, source)
    roles = roles_of(folds, params)
    for chain in range(params.folds):
        val = folds[roles[:, chain] == "val"][0]
        second = next(fold for step in (1, 2) if (fold := (chain + step) % params.folds) != val)
        roles[folds == second, chain] = "test"
    return folds, roles, ["Trained on a quarter of the images, tested on half (protocol hcrf-1-1-2)."]


def _official(records: Sequence[Record], labels: np.ndarray, params: SplitParams, source: str) -> _Dealt:
    if any(record.roles is None for record in records):
        raise InputError(f"data.split.protocol is official, but source {source} has no published split here")
    roles = np.array([record.roles for record in records], "<U6")
    if roles.shape[1] == 1:
        if params.test_fold == "all":
            raise InputError("data.split.test_fold is all, but one split is published: set it to 0")
        roles = np.repeat(roles, params.folds, axis=1)
    if roles.shape[1] != params.folds:
        raise InputError(f"data.split.folds is {params.folds}, but {roles.shape[1]} folds are published")
    notes = []
    if not (roles == "val").any():
        notes.append("The published folds have no validation part: a fifth of each train part was set aside for it.")
        for chain in range(params.folds):
            rows = np.flatnonzero(roles[:, chain] == "train")
            roles[rows[_carve(labels[rows], [records[row] for row in rows.tolist()], source)], chain] = "val"
    tested = roles == "test"
    folds = np.where(tested.sum(1) == 1, tested.argmax(1), -1).astype(np.int64)
    if (left_out := int((roles == "unused").all(1).sum())) > 0:
        notes.append(f"{left_out} images take no part in the published folds as used here.")
    return folds, roles, notes


def _carve(labels: np.ndarray, records: Sequence[Record], source: str) -> np.ndarray:
    """A fifth of the rows, whole groups: of five folds the first that shares every class with the other four."""
    _, labels = np.unique(labels, return_inverse=True)
    if any(record.group is None for record in records):
        folds = _stratified(labels, 5, source)
    else:
        groups = np.array([record.group for record in records])
        if (found := len(np.unique(groups))) < 5:
            raise InputError(f"a published train part of source {source} has {found} groups; 5 are needed here")
        folds = deal_groups(labels, groups, 5)
    shared = [len(np.intersect1d(labels[folds == fold], labels[folds != fold])) for fold in range(5)]
    return folds == int(np.argmax(shared))


def _stratified(labels: np.ndarray, folds: int, source: str) -> np.ndarray:
    import warnings

    from sklearn.model_selection import StratifiedKFold

    if np.bincount(labels).max() < folds:
        raise InputError(f"data.split.folds is {folds}, but no class of source {source} has so many images")
    dealt = np.empty(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer images than folds: checked below, by name
        for fold, (_, test) in enumerate(StratifiedKFold(folds, shuffle=True, random_state=SEED).split(labels, labels)):
            dealt[test] = fold
    return dealt


def _check_parts(
    roles: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    classes: Sequence[str],
    params: SplitParams,
    min_classes: int,
) -> list[str]:
    lacking: dict[int, list[str]] = {}
    for chain in params.chains:
        for part in PARTS:
            there = np.unique(labels[roles[:, chain] == part])
            if len(there) < (min_classes if part == "train" else 1):
                only = f"only class {classes[there[0]]}" if len(there) else "no images"
                raise InputError(f"protocol {params.protocol}, test fold {chain}: {part} has {only}")
            for label in sorted(set(range(len(classes))) - set(there)):
                lacking.setdefault(label, []).append(f"{part} of test fold {chain}")
    notes = []
    for label, places in lacking.items():
        known = groups[labels == label]
        how_many = f" ({len(set(known))} groups, {len(known)} images)" if known[0] else f" ({len(known)} images)"
        shown = ", ".join(places[:_SHOWN]) + (f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else "")
        notes.append(f"Class {classes[label]}{how_many} is absent from {shown}.")
    if notes and params.absent_classes == "error":
        raise InputError(
            " ".join(notes) + f" Protocol {params.protocol} cannot share it among {params.folds} folds: use fewer "
            "folds, another data.labels or test_fold, or accept it with data.split.absent_classes=allow"
        )
    return notes


def _leaked(roles: np.ndarray, groups: np.ndarray, chains: Sequence[int]) -> tuple[str, ...]:
    leaked: set[str] = set()
    for chain in chains:
        parts = [set(groups[roles[:, chain] == part]) for part in PARTS]
        leaked |= (parts[0] & parts[1]) | (parts[0] & parts[2]) | (parts[1] & parts[2])
    return tuple(sorted(leaked - {""}))


def _say(classes: Sequence[str], counts: np.ndarray) -> str:
    return ", ".join(f"{name} {count}" for name, count in zip(classes, counts, strict=True))
