"""Deals groups into folds so that every class is shared out evenly."""

from collections.abc import Mapping

import numpy as np

# The split belongs to the data, not to a training run: `params.seed` does not move it.
SEED = 1
_TRIES = 64
_STEPS = 20_000


def deal_groups(
    labels: np.ndarray, groups: np.ndarray, folds: int, kept: Mapping[str, int] | None = None
) -> np.ndarray:
    """The fold of each image, (n,) int64 in 0 to folds - 1; no group is in two folds.

    Groups are dealt greedily, those that hold most of a class first, each to the fold that has least of what it
    holds (after Stratified Group K-Fold, scikit-learn). Of several orders the best deal is kept: fewest classes
    absent from a fold, then evenest shares. Folds that lack a class come first: with the usual chain (test fold 1,
    validation fold 0) a class of few groups is then at least in train. Depends on the arguments only.

    Groups in `kept` stay in their fold, and the others are dealt around them; folds are then not renumbered.

    Args:
        labels: (n,) class indices.
        groups: (n,) group names; a group may hold several classes.
        folds: number of folds; no more than there are groups.
        kept: fold of groups that were dealt before, by name; may name groups that are not here.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    fixed = np.array([(kept or {}).get(str(name), -1) for name in names])
    counts = np.zeros((len(names), int(labels.max()) + 1))
    np.add.at(counts, (group_of, labels), 1)
    counts = counts[:, counts.sum(0) > 0]
    # Shares of each class, and, as a last column, of all images: folds of even size count as a class of its own.
    shares = np.column_stack([counts / counts.sum(0), counts.sum(1) / counts.sum()])
    best: tuple[tuple[int, float], np.ndarray] | None = None
    for attempt in range(max(1, min(_TRIES, _STEPS // len(names)))):
        dealt, held = _deal(shares, folds, fixed, np.random.default_rng(SEED + attempt))
        lacking = (held[:, :-1] == 0).sum(1)
        score = (int(lacking.sum()), float(((held - 1 / folds) ** 2).sum()))
        if best is None or score < best[0]:
            number = np.arange(folds) if (fixed >= 0).any() else np.argsort(np.argsort(-lacking, kind="stable"))
            best = (score, number[dealt])
    assert best is not None
    return best[1][group_of]


def _deal(shares: np.ndarray, folds: int, fixed: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(len(shares))
    order = order[np.argsort(-shares[order, :-1].max(1), kind="stable")]
    held = np.zeros((folds, shares.shape[1]))
    dealt = fixed.copy()
    np.add.at(held, fixed[fixed >= 0], shares[fixed >= 0])
    for group in order[fixed[order] < 0]:
        # The sum of squared shares grows by 2 * held @ share + constant: least where this product is least.
        cost = held @ shares[group]
        fold = int(np.lexsort((held[:, -1], cost.round(12)))[0])
        dealt[group] = fold
        held[fold] += shares[group]
    return dealt, held
