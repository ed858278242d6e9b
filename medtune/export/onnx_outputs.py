"""The outputs of an exported graph as one array, so that all of them are compared with the network's."""

from collections.abc import Sequence

import numpy as np

from medtune.serving.members import DECISION, MEMBERS


def stacked(names: Sequence[str], found: Sequence[np.ndarray]) -> np.ndarray:
    """Outputs of an exported graph as one array.

    Args:
        names: of the outputs.
        found: (n, ...) per name.

    Returns:
        (n, 1 + M, ...): the mean, then each member. (n, M, ...) where there is no mean, and (n, ...) of a graph without
        members.
    """
    by_name = dict(zip(names, found, strict=True))
    by_name.pop(DECISION, None)
    members = by_name.pop(MEMBERS, None)
    if members is None or not by_name:
        return next(iter(by_name.values())) if members is None else members
    (mean,) = by_name.values()
    return np.concatenate([mean[:, None], members], axis=1)
