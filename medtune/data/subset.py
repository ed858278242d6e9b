"""A share of the training patients: nested, stratified by class, the same for the same seed."""

import math
from dataclasses import replace

import numpy as np

from medtune.data.manifest import Prepared


def with_share(prepared: Prepared, test_fold: int, percent: int, seed: int) -> Prepared:
    """`prepared` where the chain trains on `percent` of its training patients; the others are `unused`.

    Validation and test stay as they are.
    """
    rows = prepared.indices(test_fold)["train"]
    kept = nested_rows(prepared.labels[rows], prepared.groups[rows], percent, seed)
    roles = prepared.roles.copy()
    roles[np.delete(rows, kept), test_fold] = "unused"
    return replace(prepared, roles=roles)


def nested_rows(labels: np.ndarray, groups: np.ndarray, percent: int, seed: int) -> np.ndarray:
    """Sorted positions of the images whose patient is in the share; a smaller percent gives a subset.

    At least one patient for each class is taken, however small the share.

    Args:
        labels: (n,) class indices.
        groups: (n,) patients.
        percent: 1 to 100, of the patients, rounded up.
        seed: of the order in which patients are taken.
    """
    names, member = np.unique(groups, return_inverse=True)
    held = np.zeros((len(names), int(labels.max()) + 1))
    np.add.at(held, (member, labels), 1)
    order, needed = _order(held, np.random.default_rng(seed))
    taken = max(needed, math.ceil(len(names) * percent / 100))
    return np.flatnonzero(np.isin(member, order[:taken]))


def _order(held: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Patients in the order they are taken, and how many of them it takes to have every class.

    First one patient for each class, rarest class first; then each stratum (patients whose rarest class is the same)
    is spread evenly over the order, so that every beginning of it has the classes in about the same shares.
    """
    rarity = np.argsort(held.sum(0), kind="stable")
    rank = np.empty_like(rarity)
    rank[rarity] = np.arange(len(rarity))
    stratum = np.where(held > 0, rank, len(rank)).min(1)
    shuffled = rng.permutation(len(held))
    first: list[int] = []
    for label in rarity:
        if held[:, label].any() and not (first and held[first, label].any()):
            first.append(next(group for group in shuffled.tolist() if held[group, label]))
    place = np.empty(len(held))
    for value in np.unique(stratum):
        own = shuffled[stratum[shuffled] == value]
        place[own] = (np.arange(len(own)) + rng.random()) / len(own)
    later = np.argsort(place, kind="stable")
    rest = later[~np.isin(later, first)]
    return np.array([*first, *rest]), len(first)
