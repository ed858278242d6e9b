"""Stacking of all outputs of an exported graph into one array, for the comparison with the trained networks."""

from collections.abc import Sequence

import numpy as np

from medtune.serving.members import DECISION, MEMBERS
from medtune.serving.volumes.network_features import FEATURES


def stack_outputs(names: Sequence[str], outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Stack the outputs of an exported graph into one array.

    Args:
        names: names of the outputs.
        outputs: (n, ...) output per name.

    Returns:
        (n, 1 + M, ...) with the mean first and then the M members. The shape is (n, M, ...) without a mean, and
        (n, ...) for a graph without members. Decisions and features are left out.
    """
    by_name = dict(zip(names, outputs, strict=True))
    for other in (DECISION, FEATURES):
        by_name.pop(other, None)
    members = by_name.pop(MEMBERS, None)
    if members is None or not by_name:
        return next(iter(by_name.values())) if members is None else members
    (mean,) = by_name.values()
    return np.concatenate([mean[:, None], members], axis=1)
